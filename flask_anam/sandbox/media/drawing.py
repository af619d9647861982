"""Drawings of the parts of a face, in units of 1/480 of the picture's height.

The middle of the picture is x = 0; the chin at rest is at y = 306.
"""

from flask_anam.sandbox.media.appearance import Appearance
from flask_anam.sandbox.media.canvas import (
    Canvas,
    Colour,
    Path,
    ellipse,
    mirrored,
    mix,
    smooth,
    stroke,
)

_WHITE: Colour = (255, 255, 255)
_DARK: Colour = (38, 26, 28)
_SHADE: Colour = (110, 52, 44)
_LIP: Colour = (186, 84, 84)
_INSIDE: Colour = (86, 30, 34)
_TONGUE: Colour = (196, 96, 96)
_TEETH: Colour = (250, 246, 240)

_FACE = smooth(
    mirrored([(0, 104), (46, 114), (74, 152), (78, 200), (72, 246), (50, 286), (20, 305), (0, 308)])
)


def _shadow(look: Appearance, part: float = 0.3) -> Colour:
    return mix(look.skin, _SHADE, part)


def backdrop(canvas: Canvas, look: Appearance) -> None:
    """Draw a soft room: light from the upper left, two blurred lamps."""
    width, height = canvas.size
    top, bottom = mix(look.backdrop, _WHITE, 0.18), mix(look.backdrop, (60, 62, 78), 0.3)
    canvas.rows(mix(top, bottom, (row / height) ** 1.2) for row in range(height))
    edge = width / canvas.scale / 2
    canvas.glow(0, 190, (260, 230), mix(look.backdrop, _WHITE, 0.7), 0.55)
    canvas.glow(-edge * 0.72, 110, (88, 88), _WHITE, 0.28)
    canvas.glow(edge * 0.78, 170, (64, 64), mix(look.backdrop, (255, 214, 160), 0.6), 0.32)
    canvas.glow(edge * 0.62, 330, (44, 44), _WHITE, 0.16)


def back(canvas: Canvas, look: Appearance) -> None:
    """Draw the neck, and the hair behind the shoulders and the face."""
    hair = mix(look.hair, _DARK, 0.28)
    if look.cut == "bob":
        points = [(0, 66), (64, 78), (102, 130), (110, 200), (108, 262), (92, 318), (60, 330)]
        canvas.fill(smooth(mirrored([*points, (0, 320)])), hair)
    elif look.cut == "curls":
        for x, y, size in _CURLS:
            canvas.fill(ellipse(x, y, size, size), hair)
            canvas.fill(ellipse(-x, y, size, size), hair)
    elif look.cut == "bun":
        canvas.fill(ellipse(0, 66, 40, 34), hair)
        canvas.fill(ellipse(-10, 56, 20, 12, turn=-20), mix(hair, _WHITE, 0.1), 0.6)
        canvas.fill(smooth(mirrored([(0, 80), (60, 94), (88, 150), (84, 226), (0, 250)])), hair)
    neck = [(40, 240), (38, 310), (43, 346), (58, 374), (44, 420), (0, 444)]
    canvas.fill(smooth(mirrored([(0, 240), *neck])), look.skin)
    chin = [(0, 268), (39, 276), (38, 312), (20, 334), (0, 339)]
    canvas.fill(smooth(mirrored(chin)), _shadow(look, 0.34))


#: x and y of the centre, and radius, of the curls on one side.
_CURLS = ((88, 150, 34), (96, 200, 34), (92, 250, 32), (70, 106, 36), (28, 84, 38), (0, 90, 40))


def body(canvas: Canvas, look: Appearance) -> None:
    """Draw shoulders and clothes."""
    dark, light = mix(look.clothes, _DARK, 0.35), mix(look.clothes, _WHITE, 0.12)
    shoulders = [(66, 370), (104, 386), (158, 406), (192, 446), (206, 540), (0, 560)]
    if look.outfit == "jacket":
        canvas.fill(mirrored([(0, 424), (34, 400), (60, 392), (50, 540), (0, 540)]), look.shirt)
        canvas.fill([(-3, 428), (3, 428), (5, 520), (-5, 520)], mix(look.shirt, _DARK, 0.12))
        for side in (-1, 1):
            half = [(52, 362), *_curve(shoulders), (2, 500)]
            canvas.fill(_sided(half, side), look.clothes)
            lapel = [(50, 360), (84, 378), (78, 424), (94, 432), (3, 506)]
            canvas.fill(_sided(lapel, side), light if side < 0 else mix(light, dark, 0.25))
            canvas.fill(_sided(stroke([(94, 432), (50, 470), (3, 506)], 2), side), dark, 0.5)
            collar = [(36, 350), (52, 362), (58, 392), (34, 410), (0, 424)]
            canvas.fill(_sided(collar, side), mix(look.shirt, _DARK, 0.02 if side < 0 else 0.07))
            canvas.fill(
                _sided(stroke([(58, 392), (34, 410), (0, 424)], 1.5), side),
                mix(look.shirt, _DARK, 0.4),
                0.5,
            )
    else:
        neckline = [(0, 412), (26, 404), (44, 386), (52, 366), (62, 366)]
        canvas.fill(mirrored([*neckline, *_curve(shoulders)]), look.clothes)
        inner = [(-53, 364), (-44, 388), (-24, 406), (0, 411), (24, 406), (44, 388), (53, 364)]
        canvas.fill(stroke(inner, 12), light)
        outer = [(-59, 368), (-49, 393), (-27, 412), (0, 417), (27, 412), (49, 393), (59, 368)]
        canvas.fill(stroke(outer, 2), dark, 0.5)
    for side in (-1, 1):
        sleeve = stroke([(140, 424), (150, 456), (152, 500)], 3, end=5)
        canvas.fill(_sided(sleeve, side), dark, 0.4)
    canvas.glow(-126, 424, (60, 34), mix(light, _WHITE, 0.1), 0.25)


def _sided(path: Path, side: int) -> Path:
    return [(x * side, y) for x, y in path]


def _curve(points: Path) -> Path:
    """Return an open curve through `points`."""
    line = stroke(points, 0.0)
    return line[: len(line) // 2]


def head(canvas: Canvas, look: Appearance) -> None:
    """Draw the head without its features."""
    for side in (-1, 1):
        canvas.fill(ellipse(side * 78, 212, 12, 21, turn=side * 8), mix(look.skin, _SHADE, 0.1))
        canvas.fill(ellipse(side * 79, 212, 6, 13, turn=side * 8), _shadow(look), 0.6)
    canvas.fill(_FACE, look.skin)
    canvas.glow(-24, 170, (46, 52), mix(look.skin, _WHITE, 0.5), 0.4)
    canvas.glow(58, 236, (18, 46), _shadow(look), 0.3)
    canvas.glow(0, 300, (34, 8), _shadow(look), 0.3)
    for side in (-1, 1):
        canvas.glow(side * 44, 247, (22, 16), (226, 110, 100), 0.28)
    _front_hair(canvas, look)


def _front_hair(canvas: Canvas, look: Appearance) -> None:
    hair, light = look.hair, mix(look.hair, _WHITE, 0.22)
    canvas.fill(
        smooth([(-77, 168), (-30, 136), (20, 128), (77, 166), (60, 108), (-60, 108)]),
        _shadow(look),
        0.35,
    )
    if look.cut == "bob":
        left = [(22, 84), (-30, 74), (-78, 100), (-101, 158), (-104, 232), (-94, 300), (-74, 312)]
        left += [(-72, 270), (-78, 220), (-72, 176), (-40, 146), (6, 116)]
        canvas.fill(smooth(left), hair)
        right = [(8, 82), (58, 88), (92, 128), (103, 190), (102, 250), (92, 302), (74, 312)]
        right += [(73, 262), (77, 216), (68, 168), (46, 132), (24, 112)]
        canvas.fill(smooth(right), hair)
        canvas.fill(stroke([(8, 96), (-48, 112), (-84, 168), (-92, 240)], 3, end=8), light, 0.4)
        canvas.fill(stroke([(-6, 88), (-54, 98), (-90, 150)], 2, end=4), light, 0.4)
        canvas.fill(stroke([(30, 100), (70, 126), (90, 190), (90, 250)], 2, end=6), light, 0.25)
    elif look.cut == "short":
        top = [(-80, 200), (-86, 150), (-70, 100), (-26, 74), (34, 70), (76, 98), (88, 148)]
        top += [(80, 200), (74, 164), (62, 136), (20, 128), (-22, 134), (-56, 132), (-72, 160)]
        canvas.fill(smooth(top), hair)
        canvas.fill(stroke([(-56, 112), (-10, 90), (44, 92)], 3, end=9), light, 0.35)
        canvas.fill(stroke([(-40, 124), (4, 108), (58, 116)], 2, end=5), light, 0.3)
    elif look.cut == "bun":
        top = [(-80, 190), (-86, 144), (-62, 96), (0, 78), (62, 96), (86, 144), (80, 190)]
        top += [(70, 150), (40, 122), (0, 132), (-40, 122), (-70, 150)]
        canvas.fill(smooth(top), hair)
        for x in (-56, -20, 20, 56):
            canvas.fill(stroke([(x, 122), (x * 0.72, 96), (x * 0.3, 82)], 3, end=1), light, 0.35)
    else:
        for x, y, size in ((-62, 128, 26), (62, 128, 26), (-30, 108, 28), (30, 108, 28)):
            canvas.fill(ellipse(x, y, size, size), hair)
        for x, y, size in ((0, 104, 30), (-80, 166, 20), (80, 166, 20)):
            canvas.fill(ellipse(x, y, size, size), hair)
        for x, y in ((-58, 116), (-22, 94), (20, 96), (60, 118)):
            curl = stroke([(x - 12, y + 6), (x - 2, y - 6), (x + 12, y)], 3, end=5)
            canvas.fill(curl, light, 0.35)


def features(canvas: Canvas, look: Appearance) -> None:
    """Draw brows and nose, which move with the eyes and the mouth."""
    brow = mix(look.hair, _DARK, 0.3)
    for side in (-1, 1):
        arch = [(side * 13, 183), (side * 22, 177), (side * 36, 174), (side * 51, 181)]
        under = [(side * 38, 179), (side * 24, 182), (side * 14, 187)]
        canvas.fill(smooth([*arch, *under], steps=6), brow, 0.85)
    canvas.fill(stroke([(5, 196), (8, 222), (11, 240)], 2, end=6), _shadow(look), 0.3)
    canvas.glow(-3, 236, (8, 12), mix(look.skin, _WHITE, 0.6), 0.4)
    nose = [(-13, 244), (-8, 250), (0, 252), (8, 250), (13, 244)]
    canvas.fill(stroke(nose, 2.6), _shadow(look, 0.62), 0.85)


def glasses(canvas: Canvas, look: Appearance) -> None:
    """Draw the glasses."""
    rim = mix(look.hair, _DARK, 0.6)
    for side in (-1, 1):
        outer = ellipse(side * 32, 206, 26, 21)
        inner = list(reversed(ellipse(side * 32, 206, 23.2, 18.2)))
        canvas.fill([*outer, outer[0], *inner[-1:], *inner], rim)
        canvas.fill(stroke([(side * 57, 200), (side * 77, 204)], 3), rim)
    canvas.fill(stroke([(-7, 203), (0, 199), (7, 203)], 3), rim)


def eyes(canvas: Canvas, look: Appearance, lids: str, gaze: int) -> None:
    """Draw the eyes: lids are ``open``, ``half`` or ``closed``; `gaze` is -1, 0 or 1."""
    line = mix(look.hair, _DARK, 0.75)
    for side in (-1, 1):
        x = side * 32
        if lids == "closed":
            arc = [(x - 16, 206), (x - 6, 212), (x + 6, 212), (x + 16, 206)]
            canvas.fill(ellipse(x, 204, 17, 10), mix(look.skin, _SHADE, 0.12), 0.7)
            canvas.fill(stroke(arc, 3.2), line)
            continue
        top = 196 if lids == "open" else 204
        upper_lid = [(x - 17, 208), (x - 9, top + 2), (x, top), (x + 9, top + 2), (x + 17, 206)]
        lower_lid = [(x + 9, 215), (x, 217), (x - 9, 215)]
        almond = smooth([*upper_lid, *lower_lid], steps=5)
        canvas.fill(ellipse(x, 203, 18, 12), mix(look.skin, _SHADE, 0.16), 0.5)
        canvas.fill(almond, (250, 247, 243))
        middle = x + gaze * 2.5
        canvas.fill(_clipped(ellipse(middle, 206, 9.6, 9.8), top), mix(look.eyes, _DARK, 0.45))
        canvas.fill(_clipped(ellipse(middle, 206.5, 8, 8.2), top), look.eyes)
        canvas.fill(
            _clipped(ellipse(middle, 209.5, 5.5, 4.6), top), mix(look.eyes, _WHITE, 0.3), 0.6
        )
        canvas.fill(_clipped(ellipse(middle, 206, 4.4, 4.4), top), (20, 14, 16))
        if lids == "open":
            canvas.fill(ellipse(middle - 3, 202, 2.6, 2.6), _WHITE)
            canvas.fill(ellipse(middle + 3.4, 210, 1.3, 1.3), _WHITE, 0.7)
        lash = [(-18, 209), (-9, top + 1), (2, top - 1), (11, top + 1.5), (19, 204)]
        canvas.fill(stroke([(x + side * dx, y) for dx, y in lash], 2.2, end=4.4), line)
        fold = [(x - 13 * side, top - 4), (x, top - 7.5), (x + 15 * side, top - 3)]
        canvas.fill(stroke(fold, 1.6), _shadow(look, 0.5), 0.5)
        canvas.fill(stroke([(x - 10, 217), (x, 219), (x + 11, 216)], 1.4), _shadow(look, 0.5), 0.45)


def _clipped(path: Path, top: float) -> Path:
    """Clip an iris between the upper and the lower lid."""
    return [(x, min(max(y, top + 0.5), 216.0)) for x, y in path]


#: Half the width and the height of the open mouth at its widest, by shape.
_MOUTHS = {"narrow": (23, 9), "open": (23, 20), "wide": (27, 13), "round": (13, 19)}


def mouth(canvas: Canvas, look: Appearance, shape: str, opening: float) -> None:
    """Draw the mouth, from closed (0) to as open as this shape gets (1)."""
    lip = mix(_LIP, look.skin, 0.28 if sum(look.skin) > 420 else 0.4)
    dark = mix(lip, _DARK, 0.3)
    canvas.glow(0, 296, (20, 5), _shadow(look, 0.4), 0.3)
    if shape == "closed" or opening <= 0:
        upper = [(-27, 271), (-10, 268), (0, 270), (10, 268), (27, 271), (12, 276), (-12, 276)]
        lower = [(-27, 271), (-12, 276), (12, 276), (27, 271), (14, 285), (-14, 285)]
        canvas.fill(smooth(lower, steps=5), mix(lip, _WHITE, 0.08))
        canvas.fill(smooth(upper, steps=5), mix(lip, _DARK, 0.06))
        smile = [(-29, 269), (-14, 275.5), (0, 276.5), (14, 275.5), (29, 269)]
        canvas.fill(stroke(smile, 2.2), dark)
        canvas.fill(ellipse(-4, 281, 9, 2), _WHITE, 0.25)
        return
    widest, highest = _MOUTHS[shape]
    wide = 25 + (widest - 25) * opening
    high = 3 + highest * opening
    top, bottom = 274 - high * 0.3, 274 + high * 0.7
    outer = [(0, top - 3.5), (wide * 0.4, top - 5), (wide + 4, 273), (wide * 0.55, bottom + 5)]
    canvas.fill(smooth(mirrored([*outer, (0, bottom + 8)]), steps=6), lip)
    inner = [(0, top + 0.6), (wide * 0.4, top), (wide, 273), (wide * 0.55, bottom - 0.5)]
    canvas.fill(smooth(mirrored([*inner, (0, bottom + 1)]), steps=6), _INSIDE)
    if shape != "round" and high > 7:
        length = min(7.0, high * 0.34)
        gum = [(-wide * 0.72, top + 2), (0, top + 1.2), (wide * 0.72, top + 2)]
        edge = [(wide * 0.5, top + length), (-wide * 0.5, top + length)]
        canvas.fill(smooth([*gum, *edge], steps=4), _TEETH)
    if high > 10:
        canvas.fill(ellipse(0, bottom - high * 0.12, wide * 0.45, high * 0.16), _TONGUE, 0.9)
    canvas.fill(ellipse(-3, bottom + 4.6, wide * 0.3, 1.5), _WHITE, 0.25)
