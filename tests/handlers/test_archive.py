from __future__ import annotations

import ast
import json
import os
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from handlers import archive, sigmoid_handler
from handlers.commands import archive as command
from handlers.serving import Serving
from model_store import bundle as bundles
from model_store.bundle import Bundle


def test_holds_the_bundle_the_entry_point_and_the_config(colours: Bundle, tmp_path: Path) -> None:
    serving = Serving(workers=2)
    written = archive.write(colours, tmp_path, serving)
    with zipfile.ZipFile(written) as opened:
        opened.extractall(tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked"
    model = json.loads((unpacked / "MAR-INF" / "MANIFEST.json").read_text())["model"]
    assert (model["modelName"], model["modelVersion"]) == ("colours", "1")
    assert (unpacked / model["handler"]).read_bytes() == Path(sigmoid_handler.__file__).read_bytes()
    assert yaml.safe_load((unpacked / model["configFile"]).read_text()) == yaml.safe_load(serving.model_config_yaml())
    assert bundles.open(unpacked / "bundle", verify="full").digest == colours.digest
    assert written.name == "colours-1.mar"


def test_the_same_bundle_gives_the_same_bytes_on_any_day(colours: Bundle, tmp_path: Path) -> None:
    first = archive.write(colours, tmp_path / "a", Serving()).read_bytes()
    os.utime(colours.graph, (1, 1))
    assert archive.write(colours, tmp_path / "b", Serving()).read_bytes() == first


def test_is_replaced_whole_and_leaves_nothing_beside(colours: Bundle, tmp_path: Path) -> None:
    archive.write(colours, tmp_path, Serving(workers=1))
    archive.write(colours, tmp_path, Serving(workers=2))
    assert [path.name for path in tmp_path.iterdir()] == ["colours-1.mar"]


def test_the_entry_point_imports_only_the_standard_library_before_it_is_initialised() -> None:
    tree = ast.parse(Path(sigmoid_handler.__file__).read_text())
    imported = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"__future__", "collections.abc", "http", "json", "logging", "os", "pathlib", "typing"}
    assert len([node for node in tree.body if isinstance(node, ast.ClassDef)]) == 1


def test_the_command_puts_it_into_the_data_folder(colours: Bundle, tmp_path: Path) -> None:
    data = colours.folder.parents[2]
    result = CliRunner().invoke(command, [str(colours.folder), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert Path(result.output.strip()) == data / "archives" / "colours-1.mar"
    result = CliRunner().invoke(command, [str(colours.folder), "--out", str(tmp_path / "here")])
    assert (tmp_path / "here" / "colours-1.mar").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "-1"], "workers = -1: input should be greater than or equal to 1; choose another value"),
        (["--provider", "tpu"], "'tpu' is not one of 'cpu', 'cuda'"),
    ],
)
def test_the_command_explains_a_mistake(colours: Bundle, arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(command, [str(colours.folder), *arguments])
    assert result.exit_code in (1, 2)
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_a_damaged_bundle_is_not_archived(tmp_path: Path, colours: Bundle) -> None:
    copy = tmp_path / "models" / "colours" / "1"
    copy.mkdir(parents=True)
    for path in colours.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "model.onnx").write_bytes(b"damaged")
    result = CliRunner().invoke(command, [str(copy)])
    assert result.exit_code == 1
    assert "is not the file that SHA256SUMS names; copy the whole bundle again" in result.output
    assert not (tmp_path / "archives").exists()
