from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from handlers import properties
from handlers.properties import Listen
from handlers.serving import Serving

LISTEN = Listen(
    inference=1001, management=1002, metrics=1003, grpc_inference=1004, grpc_management=1005, host="0.0.0.0"
)


def values(serving: Serving) -> dict[str, str]:
    lines = properties.config(LISTEN, serving, Path("/tmp/store/colours-1.mar")).splitlines()
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_management_never_leaves_the_machine() -> None:
    config = values(Serving())
    assert config["inference_address"] == "http://0.0.0.0:1001"
    assert config["management_address"] == "http://127.0.0.1:1002"
    assert config["metrics_address"] == "http://0.0.0.0:1003"
    assert config["grpc_inference_address"] == config["grpc_management_address"] == "127.0.0.1"


def test_no_model_comes_from_elsewhere() -> None:
    config = values(Serving())
    assert (config["model_store"], config["load_models"]) == ("/tmp/store", "colours-1.mar")
    assert config["enable_model_api"] == "false"
    assert re.fullmatch(config["allowed_urls"], "https://example.org/model.mar") is None
    assert re.fullmatch(config["allowed_urls"], "") is None


def test_bodies_stay_bytes_and_processors_see_no_gpu() -> None:
    assert values(Serving())["decode_input_request"] == "false"
    assert values(Serving())["number_of_gpu"] == "0"
    assert "number_of_gpu" not in values(Serving(provider="cuda"))


def test_logging_is_well_formed_and_quiet_by_default(tmp_path: Path) -> None:
    quiet = ElementTree.fromstring(properties.logging(tmp_path, console=False))
    loud = ElementTree.fromstring(properties.logging(tmp_path, console=True))
    assert [logger.get("level") for logger in quiet.iter("Logger") if logger.get("name") == "ACCESS_LOG"] == ["off"]
    assert "console" not in {reference.get("ref") for reference in quiet.iter("AppenderRef")}
    assert "console" in {reference.get("ref") for reference in loud.iter("AppenderRef")}
