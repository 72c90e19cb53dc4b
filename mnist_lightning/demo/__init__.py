"""`demo`: a local web page to draw digits on."""
