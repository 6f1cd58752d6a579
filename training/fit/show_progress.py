"""The progress of a training on the console."""

import time
from collections.abc import Mapping
from typing import Any

import tf_keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training.fit.callbacks import is_due
from training.recipe.fitting import Fitting


class ShowProgress(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """A bar for the running epoch, one line for each finished one.

    Args:
        console: where to print.
        settings: epochs of the whole run, and how many of them share one line.
        steps: batches of one epoch.
    """

    def __init__(self, console: Console, settings: Fitting, *, steps: int) -> None:
        super().__init__()
        self.settings, self.epochs, self.steps, self.console = settings, settings.epochs, steps, console
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        self.progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self.task = self.progress.add_task("", total=steps, figures="")
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Reset the bar."""
        self._started = time.monotonic()
        if self.console.is_terminal:
            self.progress.start()
        self.progress.reset(self.task, description=f"epoch {epoch + 1}/{self.epochs}", figures="")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar; between two calls there may have been many batches."""
        self.progress.update(self.task, completed=batch + 1, figures=_figures(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Print the epoch's figures."""
        if not (is_due(self.settings, epoch) or self.model.stop_training):
            return
        figures = _figures(logs or {})
        seconds = time.monotonic() - self._started
        self.console.print(
            f"epoch {epoch + 1:3d}/{self.epochs}  {figures}  {seconds:.1f} s", highlight=False, soft_wrap=True
        )

    def close(self) -> None:
        """Remove the bar from the screen, also after an error."""
        self.progress.stop()


def _figures(logs: Mapping[str, float]) -> str:
    return "  ".join(f"{name.replace('val_', 'validation ')} {_short(value)}" for name, value in logs.items())


def _short(value: float) -> str:
    """Four decimals, or four significant digits if these would be zeros."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"
