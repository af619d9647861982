"""Formant synthesis: vowel-like tones in the rhythm of a text, without intelligible words."""

import functools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask_anam.sandbox.api import catalog
from flask_anam.sandbox.media.persona import stable_number

#: Sample rate, in Hz.
RATE = 48_000
#: Samples in one frame of 20 ms.
FRAME = 960
#: Highest amplitude of the speech, of 32,767: quiet enough for headphones.
PEAK = 6_000

#: Mouth shapes, from closed to rounded; the face has a drawing for each.
SHAPES = ("closed", "narrow", "open", "wide", "round")

#: Formants in Hz and the mouth's shape, by letter. Source: Peterson and Barney, 1952.
_VOWELS: dict[str, tuple[tuple[int, int, int], str]] = {
    "a": ((730, 1090, 2440), "open"),
    "e": ((530, 1840, 2480), "wide"),
    "i": ((270, 2290, 3010), "narrow"),
    "o": ((570, 840, 2410), "round"),
    "u": ((300, 870, 2240), "round"),
}
#: Bandwidths of the formants, in Hz.
_BANDWIDTHS = (80.0, 110.0, 170.0)
_FRICATIVES = re.compile(r"[szxcfhj]|sh|th|ch")
_PLOSIVES = "ptkbdgq"
_CLOSING_MARKS = "\"'\u201d\u2019)]} "
_SYLLABLE = re.compile(r"([^aeiouy]*)([aeiouy]+)", re.IGNORECASE)
#: One period of a sine, in 4096 steps.
_SINE = [math.sin(2 * math.pi * step / 4096) for step in range(4096)]


@dataclass(frozen=True)
class Sound:
    """Short piece of speech: 16-bit samples, and shape and opening (0 to 1) of the mouth."""

    samples: Sequence[int]
    shape: str
    opening: float


@dataclass(frozen=True)
class _Syllable:
    onset: str
    vowel: str
    accent: bool


class Voice:
    """Speech synthesiser: the pitch depends on the voice, the melody on the place in a sentence."""

    def __init__(self, key: str) -> None:
        number = stable_number(key)
        self._pitch = _base_pitch(key, number)
        self._position = 0
        self._noise = random.Random(number)

    def word(self, text: str) -> Iterator[Sound]:
        """Yield the sounds of one word, and of the pause that its punctuation needs."""
        letters = "".join(filter(str.isalnum, text)).lower()
        mark = text.rstrip(_CLOSING_MARKS)[-1:]
        syllables = _syllables(letters)
        for index, syllable in enumerate(syllables):
            last = index == len(syllables) - 1
            yield from self._syllable(syllable, self._melody(syllable, mark if last else ""))
            self._position += 1
        if mark in (".", "!", "?", "…"):
            self._position = 0
            yield _silence(0.26)
        elif mark in (",", ";", ":", "\u2013"):
            self._position = max(0, self._position - 4)
            yield _silence(0.13)
        else:
            yield _silence(0.025)

    def _melody(self, syllable: _Syllable, mark: str) -> float:
        fall = max(0.82, 1.1 - 0.022 * self._position)
        end = {"?": 1.28, ".": 0.86, "!": 1.08}.get(mark, 1.0)
        return self._pitch * fall * end * (1.09 if syllable.accent else 1.0)

    def _syllable(self, syllable: _Syllable, pitch: float) -> Iterator[Sound]:
        _, shape = _VOWELS[syllable.vowel]
        if _FRICATIVES.search(syllable.onset):
            yield from self._hiss(0.05)
        elif syllable.onset and syllable.onset[-1] in _PLOSIVES:
            yield Sound([0] * int(0.03 * RATE), "closed", 0.0)
        length = (0.15 if syllable.accent else 0.115) * RATE
        done = 0.0
        while done < length:
            part = done / length
            period = _period(syllable.vowel, _steps(pitch * (1.04 - 0.07 * part)))
            level = _envelope(part)
            done += len(period)
            after = _envelope(min(1.0, done / length))
            yield Sound(_ramp(period, level, after), shape, max(level, after))

    def _hiss(self, seconds: float) -> Iterator[Sound]:
        count = int(seconds * RATE)
        previous = 0.0
        samples = []
        for index in range(count):
            value = self._noise.uniform(-1.0, 1.0)
            swell = math.sin(math.pi * index / count)
            samples.append(int((value - previous) * swell * PEAK * 0.10))
            previous = value
        yield Sound(samples, "narrow", 0.25)


def _base_pitch(key: str, number: int) -> float:
    gender = next((entry["gender"] for entry in catalog.VOICES if entry["id"] == key), None)
    low, high = {"MALE": (100, 125), "FEMALE": (180, 215), "NEUTRAL": (140, 165)}.get(
        str(gender), (110, 205)
    )
    return float(low + number % (high - low))


def _syllables(letters: str) -> list[_Syllable]:
    sounds = [(onset.lower(), _vowel(group.lower())) for onset, group in _SYLLABLE.findall(letters)]
    if not sounds:
        # Numbers, abbreviations and other scripts: a syllable for every two characters.
        vowels = list(_VOWELS)
        sounds = [("", vowels[ord(character) % len(vowels)]) for character in letters[::2][:8]]
    # A silent final e is not a syllable.
    if len(sounds) > 1 and letters.endswith("e") and sounds[-1][1] == "e":
        sounds.pop()
    has_accent = len(letters) > 3
    return [_Syllable(*sound, accent=has_accent and not i) for i, sound in enumerate(sounds)]


def _vowel(group: str) -> str:
    """Return the vowel that a group of vowel letters sounds like."""
    group = group.replace("y", "i")
    return {"ou": "u", "oo": "u", "ee": "i", "ea": "i", "au": "o", "ai": "e"}.get(group, group[0])


def _envelope(part: float) -> float:
    """Return the loudness of a syllable, 0 to 1, at `part` of its length."""
    if part < 0.2:
        return math.sin(part / 0.2 * math.pi / 2)
    return math.pow(max(0.0, math.cos((part - 0.2) / 0.8 * math.pi / 2)), 0.7)


def _steps(pitch: float) -> int:
    """Return the length of a period in samples, rounded so that the cache has few entries."""
    return max(160, round(RATE / pitch / 6) * 6)


@functools.lru_cache(maxsize=512)
def _period(vowel: str, size: int) -> list[float]:
    """Return one period of a vowel, between -1 and 1: harmonics shaped by the formants."""
    formants, _ = _VOWELS[vowel]
    pitch = RATE / size
    wave = [0.0] * size
    for harmonic in range(1, int(3600 / pitch) + 1):
        frequency = harmonic * pitch
        gain = sum(
            weight / (1.0 + ((frequency - formant) / width) ** 2)
            for formant, width, weight in zip(formants, _BANDWIDTHS, (1.0, 0.5, 0.22), strict=True)
        )
        # Spectral tilt of a soft voice, and a fundamental that is always audible.
        gain = gain / harmonic**0.35 + (0.35 if harmonic == 1 else 0.012)
        for index in range(size):
            wave[index] += gain * _SINE[(index * harmonic * 4096 // size) & 4095]
    top = max(abs(value) for value in wave)
    return [value / top for value in wave]


def _ramp(period: Sequence[float], level: float, after: float) -> list[int]:
    size = len(period)
    start, step = level * PEAK, (after - level) * PEAK / size
    return [int(value * (start + step * index)) for index, value in enumerate(period)]


def _silence(seconds: float) -> Sound:
    return Sound([0] * int(seconds * RATE), "closed", 0.0)
