"""`export`: a trained network as one file that takes raw images and needs nothing of this project."""
