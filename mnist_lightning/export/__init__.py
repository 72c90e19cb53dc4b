"""`export`: a trained network as one file that takes raw images and needs nothing of this project."""

from typing import Literal

FormatName = Literal["onnx", "onnx_int8", "torch", "weights", "html"]
