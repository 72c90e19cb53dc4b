"""`demo`: the page to draw digits on, in the browser."""
