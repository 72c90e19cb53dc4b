"""The page: a canvas, the ten probabilities while one draws, and what the network sees of it."""

import base64
import binascii
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import NoDigitError
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.read.reading import classify

if TYPE_CHECKING:
    from gradio import Blocks
else:
    Blocks = Any

TITLE = "Draw a digit"
PNG_URL = "data:image/png;base64,"
MAX_CHARACTERS = 1_000_000  # of a drawing's URL; the page's own have some thousands

Reading = dict[str, Any]  # what the page shows: message, probabilities (10) and pixels (784), if there is a digit


def drawing_reader(classifier: DigitClassifier) -> Callable[[str], Reading]:
    """The function that the page calls while one draws."""

    def read_drawing(url: str) -> Reading:
        try:
            digit = prepare_digit(_image_of(url))
        except NoDigitError:
            return {"message": "No digit yet."}
        except (ValueError, OSError, SyntaxError):  # the last is Pillow's for a PNG that is cut short
            return {"message": "This is no drawing of this page's."}
        probabilities = classify(classifier, digit.unsqueeze(0))[0]  # (10,)
        return {
            "message": f"This is a {int(probabilities.argmax())}.",
            "probabilities": probabilities.tolist(),
            "pixels": digit.flatten().tolist(),
        }

    return read_drawing


def _image_of(url: str) -> Image.Image:
    """The picture in a data URL.

    Raises:
        ValueError: it is none, or not as the page makes it.
    """
    if not url.startswith(PNG_URL) or len(url) > MAX_CHARACTERS:
        raise ValueError("no PNG")
    try:
        content = base64.b64decode(url.removeprefix(PNG_URL), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    image = Image.open(io.BytesIO(content), formats=["PNG"])
    if max(image.size) > 1000:
        raise ValueError("larger than the canvas")
    return image


def build_page(classifier: DigitClassifier) -> Blocks:
    """The page, ready to be served."""
    import gradio

    parts = {kind: (Path(__file__).parent / f"drawing.{kind}").read_text("utf-8") for kind in ("html", "css", "js")}
    page: Blocks
    with gradio.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gradio.HTML(
            html_template=parts["html"],
            css_template=parts["css"],
            js_on_load=parts["js"],
            server_functions=[drawing_reader(classifier)],
        )
    return page
