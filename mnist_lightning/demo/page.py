"""The page: a canvas, the ten probabilities while drawing, and the network's input."""

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
MAX_CHARACTERS = 1_000_000  # of a drawing's URL; the page's URLs have several thousand

Reply = dict[str, Any]  # the message, and if there is a digit, its probabilities (10) and pixels (784)


def drawing_reader(classifier: DigitClassifier) -> Callable[[str], Reply]:
    """The function that the page calls during drawing."""

    def read_drawing(url: str) -> Reply:
        try:
            digit = prepare_digit(_decode(url))
        except NoDigitError:
            return {"message": "No digit yet."}
        except (ValueError, OSError, SyntaxError):  # Pillow raises SyntaxError for a truncated PNG
            return {"message": "This drawing is not from this page."}
        probabilities = classify(classifier, digit.unsqueeze(0))[0]  # (10,)
        return {
            "message": f"This is a {int(probabilities.argmax())}.",
            "probabilities": probabilities.tolist(),
            "pixels": digit.flatten().tolist(),
        }

    return read_drawing


def _decode(url: str) -> Image.Image:
    """Decodes the image in a data URL.

    Raises:
        ValueError: the URL is not one that the page sends.
    """
    if not url.startswith(PNG_URL) or len(url) > MAX_CHARACTERS:
        raise ValueError("not a PNG")
    try:
        content = base64.b64decode(url.removeprefix(PNG_URL), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    image = Image.open(io.BytesIO(content), formats=["PNG"])
    if max(image.size) > 1000:
        raise ValueError("larger than the canvas")
    return image


def build_page(classifier: DigitClassifier) -> Blocks:
    """Builds the page."""
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
