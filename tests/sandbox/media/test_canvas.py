"""Rasteriser: anti-aliased edges and clipping."""

from __future__ import annotations

from flask_anam.sandbox.media.canvas import Canvas, ellipse, smooth, yuv


def test_edges_are_smooth() -> None:
    """A disc covers its area to a pixel or so, with values between on its edge."""
    canvas = Canvas((40, 40), 1.0, (0.0, 0.0))
    canvas.fill(ellipse(20.3, 19.6, 10, 10), (255, 255, 255))
    white = yuv((255, 255, 255))[0]
    luma = canvas.planes[0]
    assert abs(sum(luma) / white - 3.1416 * 100) < 3
    assert {value for value in luma if 0 < value < white}


def test_drawing_beyond_the_picture_is_cut_off() -> None:
    """Shapes may leave the picture on every side."""
    canvas = Canvas((40, 40), 1.0, (0.0, 0.0))
    canvas.fill(smooth([(-30, -30), (80, -20), (90, 90), (-20, 70)]), (255, 255, 255))
    canvas.glow(0, 0, (200, 200), (0, 0, 0), 1.0)
    assert len(canvas.planes[0]) == 1600
