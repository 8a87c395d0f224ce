"""What TorchServe is told: config.properties and its logging, as text. Pure: values in, text out.

Everything it could do beyond answering predictions is closed: no models from elsewhere, no management of models,
no management from outside the machine, no snapshots, no writing but into its own folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handlers.serving import Serving

MIB = 1024 * 1024


@dataclass(frozen=True)
class Listen:
    """Addresses and limits of one server. Ports are TCP; management and gRPC never leave the machine."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int
    host: str = "127.0.0.1"
    """Where predictions and metrics are served; a pod's own address when the gateway is another pod."""
    max_request_bytes: int = 25 * MIB
    max_response_bytes: int = 4 * MIB
    queue: int = 256
    """Requests that may wait; the next is answered 503 at once. This times the largest request bounds its memory."""


def config(listen: Listen, serving: Serving, archive: Path) -> str:
    """The text of config.properties for one archive."""
    values = {
        "inference_address": f"http://{listen.host}:{listen.inference}",
        "metrics_address": f"http://{listen.host}:{listen.metrics}",
        "management_address": f"http://127.0.0.1:{listen.management}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_inference_port": listen.grpc_inference,
        "grpc_management_address": "127.0.0.1",
        "grpc_management_port": listen.grpc_management,
        "model_store": archive.parent,
        "load_models": archive.name,
        "allowed_urls": "(?!)",  # a pattern that nothing matches: no model is ever fetched
        "enable_model_api": "false",
        "disable_token_authorization": "true",  # tokens last an hour, /ping wants one; the network is the fence
        "decode_input_request": "false",  # bodies stay bytes, whatever their Content-Type claims
        "default_workers_per_model": serving.workers,
        "default_response_timeout": serving.response_timeout_s,
        "number_of_netty_threads": 2,
        "netty_client_threads": 2,
        "job_queue_size": listen.queue,
        "max_request_size": listen.max_request_bytes,
        "max_response_size": listen.max_response_bytes,
        "metrics_mode": "prometheus",
        "disable_system_metrics": "true",  # else a Python process starts each minute to read the load
        "install_py_dep_per_model": "false",
    }
    if serving.provider == "cpu":
        values["number_of_gpu"] = 0  # else workers are dealt GPUs that they will not use
    return "".join(f"{key}={value}\n" for key, value in values.items())


def logging(folder: Path, console: bool) -> str:
    """log4j2 configuration: model_log.log (what workers say) and ts_log.log (the server's warnings), bounded in size.

    The default writes four lines for each request.
    """
    appenders = "".join(_file(name, folder) for name in ("model_log", "ts_log"))
    to_console = '<AppenderRef ref="console"/>' if console else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="error">
  <Appenders>{appenders}
    <Console name="console" target="SYSTEM_OUT"><PatternLayout pattern="{_PATTERN}"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info" additivity="false">
      <AppenderRef ref="model_log"/>{to_console}
    </Logger>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Root level="warn"><AppenderRef ref="ts_log"/>{to_console}</Root>
  </Loggers>
</Configuration>
"""


_PATTERN = "%d{ISO8601} %p %t %c{1} - %m%n"


def _file(name: str, folder: Path) -> str:
    return f"""
    <RollingFile name="{name}" fileName="{folder}/{name}.log" filePattern="{folder}/{name}.%i.log">
      <PatternLayout pattern="{_PATTERN}"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>"""
