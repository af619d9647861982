"""Draws the faces on the example app's cards, which are those that the sandbox brings to life.

Usage: python tools/draw-faces.py
"""

from pathlib import Path

import av

from example_app.personas import ALEX, LIV, MIA
from flask_anam.sandbox.media.face import Face

FACES = Path(__file__).parents[1] / "example_app" / "static" / "faces"
SIZE = (1080, 720)
QUALITY = 4  # of JPEG in FFmpeg: 2 is best, 31 smallest


def draw(avatar: str, file: Path) -> None:
    """Draw a face at rest."""
    frame = av.VideoFrame(*SIZE, "yuv420p")
    for plane, data in zip(
        frame.planes, Face(avatar, SIZE).picture(0, "closed", 0, speaking=False), strict=True
    ):
        rows = [data[i : i + plane.width] for i in range(0, len(data), plane.width)]
        plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
    with av.open(str(file), "w", format="image2") as output:
        stream = output.add_stream(
            "mjpeg", rate=1, options={"qmin": str(QUALITY), "qmax": str(QUALITY)}
        )
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        output.mux(stream.encode(frame.reformat(format="yuvj420p")))
        output.mux(stream.encode())


if __name__ == "__main__":
    for name, parts in (("support", ALEX), ("guide", LIV), ("coach", MIA)):
        draw(parts["avatarId"], FACES / f"{name}.jpg")
