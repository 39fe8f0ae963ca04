"""KServe v2 with NVIDIA's tritonclient alone: tensors in, a stream of tensors out. It fits NVIDIA's ensembles too.

python client/examples/kserve_tritonclient.py "The capital of France is" --url 127.0.0.1:8001
"""

import argparse
from queue import SimpleQueue

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype


def tensor(name: str, value: object, dtype: type) -> triton.InferInput:
    array: np.ndarray = np.array([[value]], dtype)  # [batch, 1]
    return triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?", default="The capital of France is")
    parser.add_argument("--url", default="127.0.0.1:8001")
    arguments = parser.parse_args()
    inputs = [tensor("text_input", arguments.prompt, object), tensor("max_tokens", 32, np.int32)]
    inputs += [tensor(name, True, bool) for name in ("stream", "exclude_input_in_output")]
    responses: SimpleQueue[tuple] = SimpleQueue()
    with triton.InferenceServerClient(arguments.url) as client:
        client.start_stream(lambda result, error: responses.put((result, error)))
        client.async_stream_infer("ensemble", inputs)
        while True:
            result, error = responses.get()
            if error is not None:
                raise SystemExit(error)
            print(result.as_numpy("text_output")[0].decode(), end="", flush=True)
            if result.get_response().parameters["triton_final_response"].bool_param:
                break


if __name__ == "__main__":
    main()
