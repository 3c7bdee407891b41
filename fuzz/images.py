"""NIfTI files: headers with fields that cannot be, voxels of the wrong kind, damaged bytes and compression."""

import bz2
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

ACCEPT, REFUSE, EITHER = Verdict
NUMBERS = (0.0, -0.0, -1.0, 1.0, -5.0, 1e-3, 1e-30, 1e30, 3.4e38, np.nan, np.inf, -np.inf)
BOMB_MEMBER = gzip.compress(bytes(2**24), 9, mtime=0)


@dataclass
class Draft:
    """An image while it is being spoilt: header, voxels, and what lies between them."""

    header: nib.Nifti1Header
    voxels: NDArray[Any]
    between: bytes = bytes(4)
    tail: bytes = b""

    def content(self) -> bytes:
        """Give the bytes of the file, uncompressed."""
        return bytes(self.header.binaryblock) + self.between + self.voxels.tobytes(order="F") + self.tail


Change = Callable[[Draw, Draft], Verdict]


def _dimensions(draw: Draw, draft: Draft) -> Verdict:
    dim = draft.header["dim"]
    match draw.one_of(("count", "size", "all", "huge", "trailing", "fourth", "swapped", "flat")):
        case "count":
            dim[0] = draw.one_of((-1, 0, 1, 2, 4, 7, 8, 32767))
            return ACCEPT if dim[0] in (4, 7) else REFUSE  # further axes have length 1
        case "size":
            dim[1 + draw.below(3)] = draw.one_of((0, -1, -32768, 1, 2, 19, 21, 1000, 32767))
        case "all":
            dim[1:4] = draw.one_of((0, -1, 1, 1000, 32767))
        case "huge":
            dim[:] = [7, *[32767] * 7]
        case "trailing":
            dim[0] = 4 + draw.below(4)
            return ACCEPT
        case "fourth":
            dim[0], dim[4] = 4, draw.one_of((2, 3, 32767, 0, -1))
        case "swapped":  # as many voxels, elsewhere
            dim[1:4] = dim[[2, 1, 3]]
            return EITHER
        case "flat":
            dim[0], dim[1:3], dim[3] = 2, (sound.SHAPE[0] * 3, sound.SHAPE[1]), 1
    return REFUSE


def _datatype(draw: Draw, draft: Draft) -> Verdict:
    real = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
    match draw.one_of(("real", "complex", "colour", "unknown", "float", "wrong size", "bits", "long")):
        case "real":
            code = draw.one_of(tuple(real))
            draft.header["datatype"], draft.voxels = code, draft.voxels.astype(real[code])
            draft.header["bitpix"] = 8 * draft.voxels.itemsize
            return EITHER if code in (2, 256) else ACCEPT  # which cannot hold all values
        case "complex":
            code, kind = draw.one_of(((32, "c8"), (1792, "c16")))
            draft.header["datatype"], draft.voxels = code, draft.voxels.astype(kind)
            draft.header["bitpix"] = 8 * draft.voxels.itemsize
            return ACCEPT  # as its magnitude
        case "colour":
            code, bytes_ = draw.one_of(((128, 3), (2304, 4)))
            draft.header["datatype"], draft.header["bitpix"] = code, 8 * bytes_
            draft.voxels = np.repeat(draft.voxels.astype(np.uint8)[None], bytes_, axis=0)
        case "unknown":
            draft.header["datatype"] = draw.one_of((0, 1, 3, 5, 255, 2048, 32767, -1, -4))
        case "float":
            draft.header["datatype"], draft.header["bitpix"] = 16, 32
            draft.voxels = draft.voxels.astype(np.float32)
            at, value = draw.below(draft.voxels.size), draw.one_of((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45))
            if draw.chance(0.3):
                draft.voxels[:] = value
            draft.voxels.flat[at] = value
            return REFUSE if np.isinf(value) else EITHER  # NaN in air is taken
        case "wrong size":
            draft.header["datatype"] = draw.one_of((2, 8, 16, 64, 1024, 1536))
        case "bits":
            draft.header["bitpix"] = draw.one_of((0, 1, 8, 32, -16, 32767))
            return EITHER
        case "long":
            draft.header["datatype"], draft.header["bitpix"] = 1536, 128
            draft.voxels = draft.voxels.astype(np.longdouble)
            return EITHER
    return REFUSE


def _zooms(draw: Draw, draft: Draft) -> Verdict:
    value = draw.one_of(NUMBERS)
    draft.header["pixdim"][1 + draw.below(3)] = value
    if draw.chance(0.5):
        draft.header["sform_code"] = 0
    elif draw.chance(0.5):
        draft.header["qform_code"] = 0
    return EITHER if value == 1 else REFUSE


def _quaternion(draw: Draw, draft: Draft) -> Verdict:
    if draw.chance(0.7):
        draft.header["sform_code"] = 0
    name = draw.one_of(("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_z", "qfac"))
    value = draw.one_of(NUMBERS)
    if name == "qfac":
        draft.header["pixdim"][0] = value
        return EITHER
    draft.header[name] = value
    return EITHER if np.isfinite(value) and abs(value) <= 5 else REFUSE


def _rows(draw: Draw, draft: Draft) -> Verdict:
    row = draft.header[draw.one_of(("srow_x", "srow_y", "srow_z"))]
    if draw.chance(0.5):
        draft.header["qform_code"] = 0
    match draw.one_of(("value", "zero", "random", "tiny", "sheared", "noise")):
        case "value":
            value = draw.one_of(NUMBERS)
            row[draw.below(4)] = value
            return REFUSE if np.isinf(value) else EITHER  # NaN in air is taken
        case "zero":
            row[:] = 0
            return REFUSE
        case "random":
            row[:] = draw.random.normal(0, 5, 4)
        case "tiny":
            row[:3] *= draw.one_of((1e-6, 1e-3, 1e3, 1e6))
        case "sheared":
            draft.header["srow_y"] = draft.header["srow_x"] * np.float32(1 + 1e-4 * draw.below(3)) + [0, 1e-4, 0, 0]
            return REFUSE
        case "noise":
            row[:] = np.frombuffer(draw.random.bytes(16), np.float32)
    return EITHER


def _contradicting(draw: Draw, draft: Draft) -> Verdict:
    """Let one affine say left where the other says right, both of the same space."""
    draft.header["srow_x"][0] *= -1
    return REFUSE


def _codes(draw: Draw, draft: Draft) -> Verdict:
    for name in draw.one_of((("qform_code",), ("sform_code",), ("qform_code", "sform_code"))):
        draft.header[name] = draw.one_of((-1, 0, 1, 2, 3, 4, 5, 6, 32767))
    return EITHER


def _offset(draw: Draw, draft: Draft) -> Verdict:
    value = draw.one_of((0, 1, 100, 347, 348, 351, 353, 368, 1e4, 1e9, 3e38, -1, -352, np.nan, np.inf, -np.inf))
    draft.header["vox_offset"] = value
    return REFUSE


def _extension(draw: Draw, draft: Draft) -> Verdict:
    size = 16 * (1 + draw.below(10))
    draft.between = b"\1\0\0\0" + np.array([draw.one_of((size, 0, -1, 7, 2**31 - 1)), 4], "<i4").tobytes()
    draft.between += draw.random.bytes(size - 8)
    draft.header["vox_offset"] = 352 + size
    return ACCEPT  # what an extension holds does not matter


def _scaling(draw: Draw, draft: Draft) -> Verdict:
    slope, inter = (draw.one_of((*NUMBERS, 0.5, 2.0, 100.0)) for _ in range(2))
    draft.header["scl_slope"], draft.header["scl_inter"] = slope, inter
    if np.isnan(slope) or slope == 0:
        return ACCEPT  # not scaled
    return EITHER if np.isfinite([slope, inter]).all() else REFUSE


def _units(draw: Draw, draft: Draft) -> Verdict:
    draft.header["xyzt_units"] = code = draw.below(256)
    return ACCEPT if code & 7 in (0, 2) else REFUSE


def _identity(draw: Draw, draft: Draft) -> Verdict:
    name = draw.one_of(("magic", "sizeof_hdr"))
    wrong = {
        "magic": (b"", b"n+2", b"ni1", b"N+1", b"\xff\xff\xff\xff", b"n+1x"),
        "sizeof_hdr": (0, -348, 347, 349, 540, 352, 1543569408 + 1, 2**31 - 1),
    }
    draft.header[name] = draw.one_of(wrong[name])
    return EITHER if draft.header[name].tobytes() == b"n+1x" else REFUSE


def _other_fields(draw: Draw, draft: Draft) -> Verdict:
    """Fill fields with noise that say nothing about voxels or where they lie."""
    for name in draw.some_of(
        (
            *("descrip", "aux_file", "db_name", "intent_name", "data_type", "cal_min", "cal_max", "glmax", "toffset"),
            *("intent_code", "intent_p1", "slice_code", "slice_duration", "slice_start", "extents", "session_error"),
        ),
        5,
    ):
        field = draft.header.structarr[name]
        draft.header[name] = np.frombuffer(draw.random.bytes(field.nbytes), field.dtype).reshape(field.shape)
    return ACCEPT


def _swapped(draw: Draw, draft: Draft) -> Verdict:
    draft.header = draft.header.as_byteswapped()
    draft.voxels = draft.voxels.byteswap()
    return ACCEPT


def _voxels(draw: Draw, draft: Draft) -> Verdict:
    match draw.one_of(("one value", "noise", "few", "many", "one odd")):
        case "one value":
            draft.voxels[:] = draw.one_of((0, 1, 127))
        case "noise":
            noise = np.frombuffer(draw.random.bytes(draft.voxels.nbytes), draft.voxels.dtype)
            draft.voxels = noise.reshape(draft.voxels.shape)
        case "few":
            draft.tail, draft.voxels = b"", draft.voxels[..., :-1]
            return REFUSE
        case "many":
            draft.tail = draw.random.bytes(1 + draw.below(10_000))
            return REFUSE
        case "one odd" if draft.voxels.dtype.kind in "iu":
            draft.voxels.flat[draw.below(draft.voxels.size)] = draw.one_of(
                (np.iinfo(draft.voxels.dtype).min, np.iinfo(draft.voxels.dtype).max)
            )
    return EITHER


CHANGES: tuple[Change, ...] = (
    *(_dimensions, _datatype, _zooms, _quaternion, _rows, _contradicting, _codes, _offset, _extension),
    *(_scaling, _units, _identity, _other_fields, _swapped, _voxels),
)


def _bits(draw: Draw, content: bytes) -> tuple[bytes, str]:
    """Damage the header or the whole file."""
    if draw.chance(0.6):
        head, how = draw.damaged(content[:352])
        return head + content[352:], f"header {how}"
    return draw.damaged(content)


def _compress(draw: Draw, content: bytes) -> tuple[str, bytes, Verdict]:
    """Compress content rightly or wrongly, and name the file rightly or wrongly."""
    packed = gzip.compress(content, 1, mtime=0)
    match draw.one_of(("plain", "sound", "damaged", "cut", "sum", "two", "padded", "garbage", "twice", "name", "bz2")):
        case "plain":
            return "x.nii", content, ACCEPT
        case "sound":
            return "x.nii.gz", packed, ACCEPT
        case "damaged":
            return "x.nii.gz", draw.damaged(packed)[0], EITHER
        case "cut":
            return "x.nii.gz", packed[: draw.below(len(packed))], REFUSE
        case "sum":
            return "x.nii.gz", packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], REFUSE
        case "two":
            at = draw.below(len(content))
            parts = [gzip.compress(part, mtime=0) for part in (content[:at], content[at:])]
            return "x.nii.gz", b"".join(parts), ACCEPT
        case "padded":
            return "x.nii.gz", packed + bytes(draw.below(600)), ACCEPT
        case "garbage":
            return "x.nii.gz", packed + draw.random.bytes(1 + draw.below(50)), EITHER
        case "twice":
            return "x.nii.gz", gzip.compress(packed, mtime=0), REFUSE
        case "name":
            names = (
                "x.nii",
                "x",
                "x.txt",
                "x.mgz",
                "x.hdr",
                "x.img",
                "x.mnc",
                "x.gii",
                "x.par",
                "x.dcm",
                "x.trk",
                "x.gz",
            )
            return draw.one_of((*names, "x.nii.GZ", "x.NII.GZ", "x.head", "x.nii.zst")), packed, EITHER
    return "x.nii.bz2", bz2.compress(content), EITHER


def _bomb(draw: Draw, draft: Draft) -> tuple[bytes, str]:
    """Give 2 to 16 GiB of zeros after a sound header, in a few MiB of compressed bytes at most."""
    how = draw.one_of(("sound", "huge", "offset", "extension"))
    if how == "huge":
        draft.header["dim"][1:4] = draw.one_of(((1290, 1290, 1290), (32767, 32767, 1), (2000, 2000, 2000)))
    elif how == "offset":
        draft.header["vox_offset"] = 2e9
    elif how == "extension":
        draft.header["vox_offset"] = 1e9
        draft.between = b"\1\0\0\0" + np.array([2**30, 4], "<i4").tobytes()
    start = gzip.compress(draft.content(), mtime=0)
    return start + BOMB_MEMBER * draw.one_of((128, 512, 1024)), f"bomb, {how}"


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Spoil one image of a scan, and check, segment or separate the scan."""
    verb = draw.one_of(("check", "check", "check", "segment", "separate"))
    names = {"check": ("fat", "mask"), "segment": ("fat",), "separate": sound.IMAGES[3:]}[verb]
    spoilt = draw.one_of(names)
    place, said, verdict = _spoil(draw, folder, seeds, spoilt)
    files = {}
    for name in sound.IMAGES:
        files[name] = folder / f"{name}.nii.gz"
        if name == spoilt:
            files[name] = place
        elif verb != "separate" or name in names:
            files[name].write_bytes(seeds.files[name])
    if verdict is ACCEPT and spoilt != "fat":
        verdict = EITHER  # labels and phases must not take every kind of number
    relative = {name: file.name for name, file in files.items()}
    if verb == "check":
        row = f"S1,thigh,{relative['fat']},{relative['water']},{relative['mask']}"
        (folder / "cohort.csv").write_text(f"subject,region,fat,water,mask\n{row}\n")
        return Case(arguments=("check", "cohort.csv"), changes=said, verdict=verdict, right=_counted_one)
    out, placed = _out(draw, folder)
    if verb == "segment":
        (folder / "model.ckpt").write_bytes(seeds.model)
        images = ("--fat", relative["fat"], *(("--water", relative["water"]) if draw.chance(0.3) else ()))
        arguments = ("segment", *images, "--region", "thigh", "--model", "model.ckpt", "--out", out)
        if not placed:
            return Case(arguments=arguments, changes=f"{said} to {out[:40]}")
        return Case(arguments=arguments, changes=said, verdict=verdict, right=placed_like(files["fat"], ("mask",)))
    echoes = [
        word
        for time in ("te345", "te460", "te575")
        for word in (f"--{time}", relative[f"{time}_magnitude"], relative[f"{time}_phase"])
    ]
    if draw.chance(0.5):
        echoes += ["--phase-unit", draw.one_of(("radians", "milliradians", "12bit", "signed-12bit"))]
    if draw.chance(0.2):
        echoes += ["--fat-peaks", "6"]
    if draw.chance(0.2):
        number = ("0", "-1", "nan", "inf", "1e400", "1e-300", "10", "123.2", "180", "x", "")
        echoes += [f"--flip-angle={draw.one_of(number)}", f"--tr={draw.one_of(number)}"]
        echoes += [f"--larmor-mhz={draw.one_of(number)}"] if draw.chance(0.5) else []
        verdict = EITHER if verdict is ACCEPT else verdict
    made = ("fat", "water", "fat_fraction")
    if not placed:
        return Case(arguments=("separate", *echoes, "--out", out), changes=f"{said} to {out[:40]}")
    return Case(
        arguments=("separate", *echoes, "--out", out),
        changes=said,
        verdict=verdict,
        right=placed_like(folder / "te460_magnitude.nii.gz", made)
        if spoilt != "te460_magnitude"
        else placed_like(place, made),
    )


def _out(draw: Draw, folder: Path) -> tuple[str, bool]:
    """Give a folder for results, and whether results can lie there; now and then one where they cannot."""
    if draw.chance(0.93):
        return "out", True
    out = draw.one_of(
        ("fat.nii.gz", "/dev/null", "/proc/x", "/proc", "loop", "x" * 300, "x" * 5000, "full", "\udcff", "a\nb")
    )
    if out == "loop":
        (folder / out).symlink_to(out)
    if out == "full":
        (folder / out / "mask.nii.gz").mkdir(parents=True)
        (folder / out / "fat.nii.gz").write_bytes(b"mine")
    return out, False


def _spoil(draw: Draw, folder: Path, seeds: Seeds, name: str) -> tuple[Path, str, Verdict]:
    """Write a spoilt image into the folder."""
    voxels = seeds.images[name].copy()
    draft = Draft(sound.header(voxels), voxels)
    how = draw.random.random()
    if how < 0.06:
        return _no_file(draw, folder, seeds, name)
    if how < 0.09:
        content, said = _bomb(draw, draft)
        path = folder / "bomb.nii.gz"
        path.write_bytes(content)
        return path, said, REFUSE
    if how < 0.25:
        content, said = _bits(draw, draft.content())
        file, content, verdict = _compress(draw, content)
        verdict = REFUSE if verdict is REFUSE else EITHER
    elif how < 0.8:
        changes = draw.some_of(CHANGES, 3)
        verdicts = [change(draw, draft) for change in changes]
        said = ", ".join(change.__name__.strip("_") for change in changes)
        verdict = verdicts[0] if len(verdicts) == 1 else EITHER
        packed = draw.chance(0.5)
        file = "x.nii.gz" if packed else "x.nii"
        content = gzip.compress(draft.content(), 1, mtime=0) if packed else draft.content()
    elif how < 0.85:
        return _pair(draw, folder, draft)
    else:
        said = "compression"
        file, content, verdict = _compress(draw, draft.content())
    (folder / file).write_bytes(content)
    return folder / file, f"{name}: {said} in {file}", verdict


def _pair(draw: Draw, folder: Path, draft: Draft) -> tuple[Path, str, Verdict]:
    """Write header and voxels into two files, sound or not."""
    draft.header["magic"], draft.header["vox_offset"] = b"ni1", draw.one_of((0, 0, 0, 16, 352, -1, 1e9, np.nan))
    header, voxels = draft.header.binaryblock, draft.voxels.tobytes(order="F")
    how = draw.one_of(("sound", "no voxels", "no header", "damaged", "short"))
    if how != "no header":
        (folder / "x.hdr").write_bytes(draw.damaged(header)[0] if how == "damaged" else header)
    if how != "no voxels":
        (folder / "x.img").write_bytes(voxels[:-7] if how == "short" else voxels)
    sound_offset = float(draft.header["vox_offset"]) == 0
    verdict = EITHER if how == "damaged" else ACCEPT if how == "sound" and sound_offset else REFUSE
    return folder / f"x.{draw.one_of(('hdr', 'img'))}", f"pair, {how}", verdict


def _no_file(draw: Draw, folder: Path, seeds: Seeds, name: str) -> tuple[Path, str, Verdict]:
    """Put something else in the place of a file."""
    path = folder / "x.nii.gz"
    how = draw.one_of(("nothing", "folder", "loop", "pipe", "device", "proc", "empty", "noise", "text", "long", "link"))
    match how:
        case "folder" | "loop" | "pipe" | "device" | "empty":
            draw.put(how, path)
        case "proc":
            path.symlink_to(draw.one_of(("/proc/self/mem", "/proc/self/environ", "/proc/self/maps")))
        case "noise":
            path.write_bytes(draw.random.bytes(draw.one_of((1, 347, 348, 352, 540, 5000))))
        case "text":
            path.write_text("subject,region\n" * 50)
        case "long":
            path = folder / ("x" * draw.one_of((255, 256, 5000)) + ".nii.gz")
        case "link":
            (folder / "elsewhere.nii.gz").write_bytes(seeds.files[name])
            path.symlink_to("elsewhere.nii.gz")
            return path, how, ACCEPT
    return path, how, REFUSE


def _counted_one(folder: Path, said: str) -> str | None:
    return None if "cohort.csv: 1 subject, 1 acquisition\n" in said else "another number of acquisitions"


def placed_like(image: Path, names: tuple[str, ...]) -> Callable[[Path, str], str | None]:
    """Say how images in ``out`` lie elsewhere than ``image``."""

    def right(folder: Path, said: str) -> str | None:
        # Bytes rather than names: a name may say nothing of the format.
        shape, affine = _place(image)
        for name in names:
            made = nib.load(folder / "out" / f"{name}.nii.gz")
            if made.shape != shape or not np.allclose(made.affine, affine, atol=1e-3):
                return f"{name} lies elsewhere than the input"
            if not np.isfinite(np.asarray(made.dataobj)).all():
                return f"{name} is not finite"
        return None

    return right


def _place(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Give shape and affine by nibabel's own reading of the header, trailing axes of one voxel left out."""
    content = (path.with_suffix(".hdr") if path.suffix == ".img" else path).read_bytes()
    content = bz2.decompress(content) if content[:3] == b"BZh" else content
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    header = nib.Nifti1Header(content[:348], check=False)
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1
    shape = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape), header.get_best_affine()
