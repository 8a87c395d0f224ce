from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from handlers.errors import ServingError
from handlers.serving import Serving, cores


def test_the_model_config_says_what_was_chosen() -> None:
    serving = Serving(workers=3, threads=2, batch_size=8, max_batch_delay_ms=4, response_timeout_s=7)
    assert yaml.safe_load(serving.model_config_yaml()) == {
        "minWorkers": 3,
        "maxWorkers": 3,
        "batchSize": 8,
        "maxBatchDelay": 4,
        "responseTimeout": 7,
        "deviceType": "cpu",
        "handler": {"provider": "cpu", "threads": 2},
    }


def test_a_gpu_is_asked_for_by_the_config_too() -> None:
    config = yaml.safe_load(Serving.for_machine("cuda").model_config_yaml())
    assert config["deviceType"] == "gpu"
    assert config["handler"]["provider"] == "cuda"
    assert config["batchSize"] > 1


def test_a_cpu_gets_a_worker_a_core_and_one_image_at_a_time() -> None:
    serving = Serving.for_machine()
    assert (serving.workers, serving.threads, serving.batch_size) == (cores(), 1, 1)
    assert Serving.for_machine(threads=cores()).workers == 1
    assert Serving.for_machine(workers=5).workers == 5


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"workers": 0}, "workers = 0: input should be greater than or equal to 1; choose another value"),
        ({"provider": "tpu"}, "provider = 'tpu': input should be 'cpu' or 'cuda'; choose another value"),
        ({"speed": 9}, "speed = 9: extra inputs are not permitted; choose another value"),
        ({"batch_size": 4}, "serving: batch_size above 1 needs max_batch_delay_ms of at least 1; choose another value"),
    ],
)
def test_a_mistake_is_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ServingError) as caught:
        Serving.checked(**values)
    assert str(caught.value) == sentence


def test_the_containers_share_bounds_the_cores(tmp_path: Path) -> None:
    share = tmp_path / "cpu.max"
    share.write_text("100000 100000\n")
    assert cores(share) == 1
    share.write_text("50000 100000\n")
    assert cores(share) == 1
    share.write_text("max 100000\n")
    assert cores(share) == cores(tmp_path / "absent")
