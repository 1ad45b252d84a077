"""Train the two versions of the sample model `digits`, write each in its formats and prove that the formats agree."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Predict: TypeAlias = Callable[[Floats], Floats]

SEED = 0
TEST_SHARE = 0.2
CLASSES = 10
GOLDEN_ROWS = 16
MIN_ACCURACY = 0.96
MAX_DIFFERENCE = 1e-4
TINY = 1e-6  # keeps an all-black image from dividing by zero
OPSET = 18  # the oldest that both exporters write


@dataclass(frozen=True, slots=True)
class Split:
    """Images [n, 8, 8] with pixels 0..16, and labels [n]."""

    images: Floats
    labels: Labels

    def accuracy(self, probabilities: Floats) -> float:
        return float(np.mean(probabilities.argmax(axis=1) == self.labels))


@dataclass(frozen=True, slots=True)
class Version:
    """A trained version: its folder, its words for model.toml, and its framework's answers to the test set."""

    folder: Path
    description: str
    framework: str
    probabilities: Floats


# --- data


def load_splits() -> tuple[Split, Split]:
    digits = load_digits()
    images, labels = digits.images.astype(np.float32), digits.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=TEST_SHARE, stratify=labels, random_state=SEED)
    train_images, test_images, train_labels, test_labels = parts
    return Split(train_images, train_labels), Split(test_images, test_labels)


def augmented(train: Split, copies: int) -> Split:
    """The training set and `copies` distorted ones, so that other pens and sizes (MNIST's) are recognised too."""
    generator = torch.Generator().manual_seed(SEED)
    distorted = [distort(train.images, generator) for _ in range(copies)]
    return Split(np.concatenate([train.images, *distorted]), np.tile(train.labels, copies + 1))


def distort(images: Floats, generator: torch.Generator) -> Floats:
    """Turn, scale, shear and shift each image, and make its strokes thinner or fatter."""

    def between(low: float, high: float) -> torch.Tensor:
        return torch.rand(len(images), generator=generator) * (high - low) + low

    # At 8×8 a stroke cannot get thinner: distort four times larger, and let the mean of 4×4 pixels antialias.
    large = F.interpolate(torch.from_numpy(images)[:, None] / 16, scale_factor=4, mode="bicubic").clamp(0, 1)
    angle, shear = between(-0.25, 0.25), between(-0.2, 0.2)
    height = between(0.5, 1.1)  # digits fill their frame here, MNIST's are surrounded by a margin
    width = height * between(0.7, 1.2)
    row_x = torch.stack([angle.cos() / width, (shear - angle.sin()) / width, between(-0.2, 0.2)], dim=1)
    row_y = torch.stack([angle.sin() / height, angle.cos() / height, between(-0.2, 0.2)], dim=1)
    grid = F.affine_grid(torch.stack([row_x, row_y], dim=1), list(large.shape), align_corners=False)
    stroke = between(-0.7, 1.2).exp()[:, None, None, None]
    large = F.grid_sample(large, grid, align_corners=False) ** stroke
    return cast(Floats, (16 * F.avg_pool2d(large, 4)[:, 0]).numpy())


# --- version 1: Keras


def build_keras() -> keras.Model:
    image = keras.Input((8, 8), name="image")
    largest = keras.ops.max(image, axis=(1, 2), keepdims=True)
    x = keras.ops.expand_dims(image / keras.ops.maximum(largest, TINY), -1)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv1")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(24, 3, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(32, activation="relu", name="dense1")(x)
    x = keras.layers.Dense(CLASSES, activation="softmax", name="dense2")(x)
    # The dict's key becomes the name of the signature's output.
    return keras.Model(image, {"probabilities": x}, name="digits")


def train_keras(train: Split) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = build_keras()
    data, epochs, batch_rows = augmented(train, copies=20), 12, 64
    steps = epochs * len(data.labels) // batch_rows
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps))
    model.compile(optimizer, {"probabilities": "sparse_categorical_crossentropy"})
    model.fit(data.images, {"probabilities": data.labels}, batch_size=batch_rows, epochs=epochs, verbose=0)
    return model


def scaled(image: torch.Tensor, least: float = TINY) -> torch.Tensor:
    """Each image [batch, 8, 8] divided by its own largest pixel: 0..1, 0..16 and 0..255 become the same."""
    # A default argument, for TorchScript reads no global numbers.
    return image / image.amax((1, 2), keepdim=True).clamp_min(least)


class KerasTwin(nn.Module):
    """The Keras model's layers in torch, to carry its weights into TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 24, 3, padding=1)
        self.dense1 = nn.Linear(2 * 2 * 24, 32)
        self.dense2 = nn.Linear(32, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = scaled(image).unsqueeze(1)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        # Keras flattens channels last, and its dense weights count on that order.
        x = F.relu(self.dense1(x.permute(0, 2, 3, 1).flatten(1)))
        return torch.softmax(self.dense2(x), dim=1)


def twin_of(model: keras.Model) -> KerasTwin:
    twin = KerasTwin()
    for name, layer in twin.named_children():
        weight, bias = model.get_layer(name).get_weights()
        # Keras: height, width, in, out; torch: out, in, height, width. Dense: in, out against out, in.
        weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
        layer.load_state_dict({"weight": torch.from_numpy(weight.copy()), "bias": torch.from_numpy(bias)})
    return twin.eval()


# --- version 2: torch


class TorchCnn(nn.Module):
    """Three normalised convolutions and one dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(*block(1, 32), *block(32, 48))
        self.coarse = nn.Sequential(*block(48, 64))
        self.dropout = nn.Dropout(0.3)
        self.dense = nn.Linear(4 * 4 * 64, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.logits(image), dim=1)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        x = scaled(image).unsqueeze(1)
        x = self.coarse(F.max_pool2d(self.fine(x), 2))
        logits: torch.Tensor = self.dense(self.dropout(x.flatten(1)))
        return logits


def block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def train_torch(train: Split) -> TorchCnn:
    torch.manual_seed(SEED)
    model = TorchCnn()
    data, epochs, batch_rows = augmented(train, copies=40), 5, 64
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    steps = epochs * -(-len(labels) // batch_rows)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(batch_rows):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            F.cross_entropy(model.logits(images[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()


# --- writing


def write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)
    (path / "fingerprint.pb").unlink(missing_ok=True)  # random at every run, and needed by nobody
    (path / "assets").rmdir()  # empty, which git cannot keep


def write_tflite(saved_model: Path, path: Path) -> None:
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert())


def write_onnx_of_keras(model: keras.Model, path: Path) -> None:
    image = tf.TensorSpec([None, 8, 8], tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False), input_signature=[image])
    proto, _ = tf2onnx.convert.from_function(function, input_signature=[image], opset=OPSET)
    save_onnx(proto, path)


def write_onnx_of_torch(model: nn.Module, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            (torch.rand(2, 8, 8),),
            raw,
            dynamo=True,
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
        save_onnx(onnx.load(raw), path)


def save_onnx(proto: onnx.ModelProto, path: Path) -> None:
    """Name the batch axis, and leave out the exporters' notes: stack traces tell the paths of this machine."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del proto.graph.value_info[:]
    for annotated in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        annotated.ClearField("metadata_props")
        annotated.doc_string = ""
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def write_torchscript(model: nn.Module, path: Path) -> None:
    """Save without the source positions (*.debug_pkl): they tell the paths of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / path.name
        torch.jit.save(torch.jit.script(model), raw)
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w") as target:
            for info in source.infolist():
                if not info.filename.endswith(".debug_pkl"):
                    target.writestr(zipfile.ZipInfo(info.filename), source.read(info))


def write_golden(version: Version, test: Split, rows: npt.NDArray[np.intp]) -> None:
    arrays: dict[str, Any] = {"inputs/image": test.images[rows], "outputs/probabilities": version.probabilities[rows]}
    np.savez_compressed(version.folder / "golden.npz", **arrays)


def write_images(folder: Path, test: Split, rows: npt.NDArray[np.intp]) -> None:
    """One PNG per class, 64×64: the 8×8 pixels of a test image, each repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    for image, label in zip(test.images[rows], test.labels[rows], strict=True):
        grey = Image.fromarray((image * 255 / 16).round().astype(np.uint8))
        grey.resize((64, 64), Image.Resampling.NEAREST).save(folder / f"{label}.png", optimize=True)


def write_model_toml(path: Path, test: Split, versions: list[Version]) -> None:
    lines = [
        "# Written by train_digits.py",
        'description = "Handwritten digits, 8×8 grey pixels of any scale: ten probabilities"',
        'versions = "all"',
        'backends = ["onnxruntime", "tflite", "tfserving", "torchserve"]',
    ]
    for version in versions:
        lines += [
            "",
            f"[version.{version.folder.name}]",
            f'description = "{version.description}"',
            f'framework = "{version.framework}"',
            f"test_accuracy = {test.accuracy(version.probabilities):.4f}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- proof


def load_onnx(path: Path) -> Predict:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: cast(Floats, session.run(["probabilities"], {"image": images})[0])


def load_tflite(path: Path) -> Predict:
    interpreter = Interpreter(str(path))
    if interpreter.get_input_details()[0]["shape_signature"].tolist() != [-1, 8, 8]:
        raise SystemExit(f"{path}: the batch axis is not dynamic")
    runner = interpreter.get_signature_runner("serving_default")
    return lambda images: cast(Floats, runner(image=images)["probabilities"])


def load_saved_model(path: Path) -> Predict:
    loaded = tf.saved_model.load(str(path))
    # `loaded` owns the variables: the default argument keeps it alive as long as the function.
    return lambda images, loaded=loaded: cast(  # type: ignore[misc]
        Floats, loaded.signatures["serving_default"](image=tf.constant(images))["probabilities"].numpy()
    )


def load_torchscript(path: Path) -> Predict:
    module = torch.jit.load(path).eval()  # type: ignore[no-untyped-call]
    return lambda images: predict_torch(module, images)


def predict_torch(module: nn.Module, images: Floats) -> Floats:
    with torch.inference_mode():
        return cast(Floats, module(torch.from_numpy(images)).numpy())


LOADERS: Mapping[str, Callable[[Path], Predict]] = {
    "saved_model": load_saved_model,
    "model.onnx": load_onnx,
    "model.tflite": load_tflite,
    "model.pt": load_torchscript,
}


def largest_difference(predict: Predict, images: Floats, expected: Floats) -> float:
    """Over the whole test set as it is, with its pixels on two other scales, and one image at a time."""
    answers = [predict(images * np.float32(factor)) for factor in (1, 1 / 16, 16)]
    answers.append(np.concatenate([predict(image[None]) for image in images]))
    return max(float(np.abs(answer - expected).max()) for answer in answers)


def size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def verify(version: Version, test: Split) -> bool:
    """Print a line for each artifact of the version; false if one strays from its source framework."""
    agree = True
    for name, load in LOADERS.items():
        path = version.folder / name
        if path.exists():
            predict = load(path)
            difference = largest_difference(predict, test.images, version.probabilities)
            accuracy = test.accuracy(predict(test.images))
            agree = agree and difference <= MAX_DIFFERENCE
            print(f"{version.folder.name}/{name:<14} {size_bytes(path):>8} {accuracy:>9.4f} {difference:>19.1e}")
    return agree


# --- the whole


def make_version_1(folder: Path, train: Split, test: Split) -> Version:
    model = train_keras(train)
    write_saved_model(model, folder / "saved_model")
    write_tflite(folder / "saved_model", folder / "model.tflite")
    write_onnx_of_keras(model, folder / "model.onnx")
    write_torchscript(twin_of(model), folder / "model.pt")
    probabilities = model.predict(test.images, verbose=0)["probabilities"]
    return Version(folder, "A small CNN, the same weights in all four formats", "Keras CNN", probabilities)


def make_version_2(folder: Path, train: Split, test: Split) -> Version:
    model = train_torch(train)
    write_onnx_of_torch(model, folder / "model.onnx")
    write_torchscript(model, folder / "model.pt")
    return Version(folder, "A larger CNN with batch normalisation", "PyTorch CNN", predict_torch(model, test.images))


def sample_rows(test: Split, versions: list[Version]) -> npt.NDArray[np.intp]:
    """Rows of the test set that every version gets right: one of each class, 0 to 9, and then others."""
    right = np.all([version.probabilities.argmax(axis=1) == test.labels for version in versions], axis=0)
    firsts = [int(np.flatnonzero(right & (test.labels == label))[0]) for label in range(CLASSES)]
    others = [int(row) for row in np.flatnonzero(right) if row not in firsts]
    return np.array(firsts + others[: GOLDEN_ROWS - CLASSES], dtype=np.intp)


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=here, help="the repository: the model goes to its digits/")
    parser.add_argument("--images", type=Path, help="also write ten test images here, as 0.png to 9.png")
    arguments = parser.parse_args()

    train, test = load_splits()
    model_folder: Path = arguments.out / "digits"
    for folder in (model_folder / "1", model_folder / "2"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    versions = [make_version_1(model_folder / "1", train, test), make_version_2(model_folder / "2", train, test)]

    rows = sample_rows(test, versions)
    for version in versions:
        write_golden(version, test, rows)
    if arguments.images:
        write_images(arguments.images, test, rows[:CLASSES])
    write_model_toml(model_folder / "model.toml", test, versions)

    print(f"{'artifact':<16} {'bytes':>8} {'accuracy':>9} {'largest difference':>19}")
    agree = [verify(version, test) for version in versions]
    first, second = (test.accuracy(version.probabilities) for version in versions)
    if not all(agree) or not MIN_ACCURACY <= first < second:
        sys.exit(f"formats disagree, or accuracies {first:.4f} and {second:.4f} are not as promised")


if __name__ == "__main__":
    main()
