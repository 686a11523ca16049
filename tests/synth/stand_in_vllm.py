"""An engine in the place of vLLM's: it takes requests in vLLM's own classes where the package is installed, else in namespaces of the
same names."""

import importlib.metadata
from types import SimpleNamespace
from typing import Any


class Engine:
    """Answers every request with ` a dog `; `asked` has its arguments and the requests."""

    def __init__(self, asked: dict[str, Any]):
        self.asked = asked

    def from_engine_args(self, how: Any) -> "Engine":
        self.asked["engine"] = how
        return self

    async def generate(self, prompt: Any, how: Any, number: str, lora_request: Any = None) -> Any:
        self.asked.setdefault("requests", []).append((prompt, how, number, lora_request))
        out = SimpleNamespace(text=f" {self.text()} ", finish_reason="length", token_ids=[1, 2])
        yield SimpleNamespace(outputs=[out], prompt_token_ids=[1] * 9)

    def text(self) -> str:
        return "a dog"

    def shutdown(self) -> None:
        self.asked["shutdown"] = True


def modules(engine: Engine, in_ray: bool = False) -> dict[str, Any]:
    """What has to be in sys.modules for `engine` to be vLLM's. in_ray: whether this is an actor of Ray."""

    def request(name: str, number: int, path: str) -> SimpleNamespace:
        return SimpleNamespace(lora_name=name, lora_int_id=number, lora_path=path)

    found = {"vllm.v1.engine.async_llm": {"AsyncLLM": engine}}
    if not any(importlib.metadata.distributions(name="vllm")):  # a stand-in may be among the modules
        kinds = SimpleNamespace(FINAL_ONLY="final")
        found |= {
            "vllm": {"AsyncEngineArgs": SimpleNamespace, "SamplingParams": SimpleNamespace},
            "vllm.ray.lazy_utils": {"is_in_ray_actor": lambda: in_ray},
            "vllm.lora.request": {"LoRARequest": request},
            "vllm.sampling_params": {"RequestOutputKind": kinds, "StructuredOutputsParams": SimpleNamespace},
        }
    return {name: SimpleNamespace(**names) for name, names in found.items()}
