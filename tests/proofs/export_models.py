"""The models of `make proof-export`: the samples in all their formats, and a small MobileNet in two frameworks."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "model_repo" / "digits"
_SIZE = 24
_EPOCHS = 12


@dataclass(frozen=True)
class Source:
    """A folder with one source, and labelled rows to compare and to quantize by."""

    model: str
    folder: Path
    rows: Path | None


def training() -> Any:
    """model_repo/train_digits.py, as a module."""
    spec = importlib.util.spec_from_file_location("train_digits", SAMPLES.parent / "train_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def digits_1(work: Path) -> list[Source]:
    train = training()
    _, test = train.load_splits()
    rows = _saved(work / "digits-1.npz", {"image": test.images}, test.labels)
    keras_folder = _folder(work, "digits-1-keras")
    _keras_of_twin(train).save(keras_folder / "model.keras")
    found = [Source("digits/1", keras_folder, rows)]
    for name in ("saved_model", "model.pt", "model.onnx"):
        folder = _folder(work, f"digits-1-{name}")
        _copy(SAMPLES / "1" / name, folder / name)
        found.append(Source("digits/1", folder, rows))
    return found


def _keras_of_twin(train: Any) -> Any:
    """The Keras model again, with the weights that its TorchScript twin has."""
    import torch

    model = train.build_keras()
    weights = torch.jit.load(SAMPLES / "1" / "model.pt").state_dict()
    for name in ("conv1", "conv2", "dense1", "dense2"):
        weight = weights[f"{name}.weight"].numpy()
        weight = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        model.get_layer(name).set_weights([weight, weights[f"{name}.bias"].numpy()])
    return model


def digits_2(work: Path) -> list[Source]:
    import torch

    train = training()
    _, test = train.load_splits()
    rows = _saved(work / "digits-2.npz", {"image": test.images}, test.labels)
    folders = {name: _folder(work, f"digits-2-{name}") for name in ("model.pt", "model.onnx", "model.pt2")}
    for name in ("model.pt", "model.onnx"):
        _copy(SAMPLES / "2" / name, folders[name] / name)
    model = train.TorchCnn()
    model.load_state_dict(torch.jit.load(SAMPLES / "2" / "model.pt").state_dict())
    _save_program(model.eval(), torch.rand(2, 8, 8), "image", folders["model.pt2"] / "model.pt2")
    return [Source("digits/2", folder, rows) for folder in folders.values()]


def mobilenets(work: Path) -> list[Source]:
    train = training()
    learn, test = train.load_splits()
    return [*_keras_mobilenet(work, learn, test), *_torch_mobilenet(work, learn, test)]


def _large(images: Any) -> Any:
    """[n, 8, 8] with 0..16 as pictures [n, 24, 24, 3] with 0..1."""
    grey = np.repeat(np.repeat(images / 16, _SIZE // 8, 1), _SIZE // 8, 2)
    return np.repeat(grey[..., None], 3, -1).astype(np.float32)


def _keras_mobilenet(work: Path, learn: Any, test: Any) -> list[Source]:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers

    def normal(x: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))

    def inverted(x: Any, channels: int, stride: int) -> Any:
        wide = normal(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x))
        wide = normal(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(wide))
        narrow = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(channels, 1, use_bias=False)(wide))
        return layers.Add()([x, narrow]) if narrow.shape == x.shape else narrow

    picture = keras.Input((_SIZE, _SIZE, 3), name="picture")
    x = normal(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(picture))
    for channels, stride in ((8, 1), (16, 2), (16, 1), (24, 2)):
        x = inverted(x, channels, stride)
    x = layers.GlobalAveragePooling2D()(normal(layers.Conv2D(64, 1, use_bias=False)(x)))
    model = keras.Model(picture, {"probabilities": layers.Dense(10, activation="softmax", name="dense")(x)})
    model.compile(keras.optimizers.Adam(4e-3), {"probabilities": "sparse_categorical_crossentropy"})
    model.fit(_large(learn.images), {"probabilities": learn.labels}, batch_size=64, epochs=_EPOCHS, verbose=0)
    folder = _folder(work, "mobilenet-keras")
    model.save(folder / "model.keras")
    rows = _saved(work / "mobilenet-keras.npz", {"picture": _large(test.images)}, test.labels)
    return [Source("MobileNet-like, Keras", folder, rows)]


def _torch_mobilenet(work: Path, learn: Any, test: Any) -> list[Source]:
    import torch
    from torch import nn

    torch.manual_seed(0)

    def normal(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]

    class Inverted(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            wide = 4 * inputs
            last = normal(wide, outputs, 1)[:2]
            self.body = nn.Sequential(*normal(inputs, wide, 1), *normal(wide, wide, 3, stride, wide), *last)
            self.same = inputs == outputs and stride == 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.body(x) if self.same else self.body(x)

    class MobileNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks = [Inverted(8, 8, 1), Inverted(8, 16, 2), Inverted(16, 16, 1), Inverted(16, 24, 2)]
            self.body = nn.Sequential(*normal(3, 8, 3, 2), *blocks, *normal(24, 64, 1))
            self.dense = nn.Linear(64, 10)

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.dense(self.body(picture).mean((2, 3))), dim=1)

    def channels_first(images: Any) -> Any:
        return np.ascontiguousarray(_large(images).transpose(0, 3, 1, 2))

    model = MobileNet()
    images, labels = torch.from_numpy(channels_first(learn.images)), torch.from_numpy(learn.labels)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            nn.functional.nll_loss(model(images[rows]).log(), labels[rows]).backward()
            optimizer.step()
    model.eval()
    data = _saved(work / "mobilenet-torch.npz", {"picture": channels_first(test.images)}, test.labels)
    script, program, graph = (_folder(work, f"mobilenet-{name}") for name in ("torchscript", "pt2", "onnx"))
    torch.jit.save(torch.jit.script(model), script / "model.pt")
    example = torch.rand(2, 3, _SIZE, _SIZE)
    _save_program(model, example, "picture", program / "model.pt2")
    torch.onnx.export(
        model,
        (example,),
        graph / "model.onnx",
        input_names=["picture"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    return [Source("MobileNet-like, torch", folder, data) for folder in (script, program, graph)]


def others(work: Path, data: Path) -> list[Source]:
    """mnist-8 and half_plus_two, where the collection of other people's models is there."""
    from PIL import Image

    if not data.is_dir():
        return []
    mnist = _folder(work, "mnist-8")
    _copy(data / "onnx" / "mnist-8" / "model.onnx", mnist / "model.onnx")
    pictures = [Image.open(data / "inputs" / "mnist_torchserve" / f"{digit}.png").convert("L") for digit in range(10)]
    images = np.stack([np.asarray(each, np.float32)[None] for each in pictures])
    rows = _saved(work / "mnist-8.npz", {"Input3": images}, np.arange(10))
    half = _folder(work, "half_plus_two")
    _copy(data / "tf" / "serving" / "saved_model_half_plus_two_cpu" / "00000123", half / "saved_model")
    numbers = np.linspace(-100, 100, 64, dtype=np.float32)[:, None]
    return [
        Source("mnist-8", mnist, rows),
        Source("half_plus_two", half, _saved(work / "half.npz", {"x": numbers}, None)),
    ]


def _save_program(model: Any, example: Any, name: str, path: Path) -> None:
    import torch

    shapes = {name: {0: torch.export.Dim("batch", min=1, max=256)}}
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=shapes), path)


def _folder(work: Path, name: str) -> Path:
    folder = work / name.replace(".", "-")
    folder.mkdir()
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _saved(path: Path, inputs: dict[str, Any], labels: Any) -> Path:
    arrays = {f"inputs/{name}": array for name, array in inputs.items()}
    np.savez(path, **arrays, **({} if labels is None else {"labels": labels}))
    return path
