"""What every test may lean on. Fixtures of one folder live in that folder's conftest."""

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# Fixed seeds for each change, random ones in the long run (make soak sets FABLAB_SOAK).
settings.register_profile("change", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak" if os.environ.get("FABLAB_SOAK") else "change")


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait on a condition with a deadline: `until(lambda: …, seconds=10, why="…")`."""

    def wait(condition: Callable[[], object], seconds: float = 15, why: str = "the condition never came true") -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(why)
            time.sleep(0.02)

    return wait
