"""Frames to mp4 (H.264, yuv420p, which browsers play) and to GIF, by imageio and its ffmpeg.

A file is complete or does not exist: it is written under a temporary name and moved when it is finished.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from nchl.errors import InvalidArgument, MissingExtra, RunError, install_command, require

_QUALITY = ["-crf", "24", "-preset", "medium", "-movflags", "+faststart"]
_GIF_PER_SECOND, _GIF_WIDTH = 12.5, 720
_SMALL_PER_SECOND, _SMALL_WIDTH, _SMALL_SECONDS = 8.0, 360, 20  # for TensorBoard, which keeps images in memory


def ffmpeg() -> str:
    """Path of ffmpeg.

    Raises:
        MissingExtra: ffmpeg, or the package that brings it, is not installed.
    """
    try:
        return str(require("imageio_ffmpeg", "report").get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingExtra(
            f"films need ffmpeg, and none was found ({str(error).splitlines()[0]}); install it with: {install_command('report')}, "
            "or set IMAGEIO_FFMPEG_EXE to your own"
        ) from error


def check(path: Path) -> None:
    """Check, before anything is played, that the film can be written.

    Raises:
        MissingExtra: imageio, Pillow or ffmpeg is not installed.
        InvalidArgument: the name does not end in .mp4.
        RunError: the folder does not exist or cannot be written.
    """
    for module in ("imageio", "PIL"):
        require(module, "report")
    ffmpeg()
    if path.suffix.lower() != ".mp4":
        raise InvalidArgument(f"a film is an mp4 file: name it {path.with_suffix('.mp4').name}, not {path.name!r}")
    folder = path.parent
    if not folder.is_dir():
        raise RunError(f"there is no folder {folder} to write {path.name} to; make it, or name another with --out")
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"cannot write {path}: permission denied; name another place with --out")


class Writer:
    """Writes frames of equal size as a film; leaving the `with` block moves it to its place, or deletes it after an exception.

    Args:
        path: the film, ending in .mp4.
        rate: frames per second.

    Attributes:
        frames: number of frames so far.
        size: (width, height) in pixels.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        self.frames = 0
        self.size = (0, 0)
        imageio = require("imageio.v2", "report")
        # With a macro block of 2, frames with even sides are not resized.
        self._writer: Any = imageio.get_writer(
            self._partial,
            format="FFMPEG",
            mode="I",
            fps=rate,
            codec="libx264",
            quality=None,
            pixelformat="yuv420p",
            macro_block_size=2,
            ffmpeg_params=_QUALITY,
            ffmpeg_log_level="error",
        )

    def add(self, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Append a frame.

        Raises:
            RunError: ffmpeg failed, for example on a full disk.
        """
        try:
            self._writer.append_data(picture)
        except (OSError, RuntimeError) as error:
            raise RunError(f"cannot write {self._path}: {_first_line(error)}") from error
        self.frames += 1
        self.size = (picture.shape[1], picture.shape[0])

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
        except (OSError, RuntimeError) as failure:
            if kind is None:
                raise RunError(f"cannot write {self._path}: {_first_line(failure)}") from failure
        finally:
            self._partial.unlink(missing_ok=True)


def to_gif(
    film: Path,
    gif: Path,
    *,
    rate: float = _GIF_PER_SECOND,
    width: int = _GIF_WIDTH,
    seconds: float | None = None,
    colours: int | None = None,
) -> None:
    """Convert a film to a GIF with its own palette.

    Args:
        film: the mp4.
        gif: the GIF to write.
        rate: most frames per second.
        width: most pixels across.
        seconds: length to convert; None: all.
        colours: size of the palette, without dithering, which makes a small file; None: 256 colours, dithered.

    Raises:
        RunError: ffmpeg failed.
    """
    partial = gif.with_name(f".{gif.stem}.{os.getpid()}.gif")
    scale = f"fps={rate},scale='min({width},iw)':-2:flags=lanczos"
    palette, dither = ("stats_mode=diff", "bayer:bayer_scale=4") if colours is None else (f"max_colors={colours}", "none")
    graph = f"{scale},split[a][b];[a]palettegen={palette}[p];[b][p]paletteuse=dither={dither}:diff_mode=rectangle"
    limit = [] if seconds is None else ["-t", str(seconds)]
    command = [ffmpeg(), "-y", "-loglevel", "error", "-i", str(film), *limit, "-filter_complex", graph, "-loop", "0", str(partial)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RunError(f"cannot write {gif}: ffmpeg says: {(done.stderr.strip() or 'nothing').splitlines()[-1]}")
        partial.replace(gif)
    except OSError as error:
        raise RunError(f"cannot write {gif}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def small_gif(film: Path) -> tuple[bytes, tuple[int, int]]:
    """The first seconds of a film as a GIF of some hundred kilobytes, and its (width, height).

    Raises:
        RunError: ffmpeg failed.
    """
    made = film.with_name(f".{film.stem}.small.gif")
    try:
        to_gif(film, made, rate=_SMALL_PER_SECOND, width=_SMALL_WIDTH, seconds=_SMALL_SECONDS)
        with require("PIL.Image", "report").open(made) as image:
            return made.read_bytes(), image.size
    finally:
        made.unlink(missing_ok=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
