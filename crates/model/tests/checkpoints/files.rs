//! Copies of fixtures with changed tensors.

use kokeshi_model::{Checkpoint, Device, Forward, Result, load};
use kokeshi_testkit::fixture;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(crate) fn load_from(folder: &Path) -> Result<Box<dyn Forward>> {
    load(&Checkpoint::open(folder)?, &Device::default())
}

#[track_caller]
pub(crate) fn error(folder: &TempDir) -> String {
    load_from(folder.path()).expect_err("the checkpoint must not load").to_string()
}

/// A copy of a fixture, to be damaged.
pub(crate) fn copy(layout: &str) -> TempDir {
    let to = tempfile::tempdir().expect("a temporary folder");
    copy_files(&fixture(layout), to.path());
    to
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the fixture exists") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir(&to).expect("a folder");
            copy_files(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// A tensor of a weight file, to be changed and written again.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Raw>;

pub(crate) fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).expect("the weights");
    let file = SafeTensors::deserialize(&bytes).expect("valid weights");
    let raw = |(name, view): (&str, TensorView<'_>)| {
        let raw =
            Raw { dtype: view.dtype(), shape: view.shape().to_vec(), data: view.data().to_vec() };
        (name.to_owned(), raw)
    };
    file.iter().map(raw).collect()
}

pub(crate) fn write(path: &Path, tensors: &Tensors) {
    let view = |(name, raw): (&String, &Raw)| {
        let view =
            TensorView::new(raw.dtype, raw.shape.clone(), &raw.data).expect("a valid tensor");
        (name.clone(), view.data().to_vec(), view.dtype(), view.shape().to_vec())
    };
    let owned: Vec<_> = tensors.iter().map(view).collect();
    let views = owned.iter().map(|(name, data, dtype, shape)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).expect("a valid tensor"))
    });
    safetensors::serialize_to_file(views, None, path).expect("weights are written");
}

/// The fixture with its tensors changed.
pub(crate) fn changed(layout: &str, change: impl FnOnce(&mut Tensors)) -> TempDir {
    let folder = copy(layout);
    let path = folder.path().join("model.safetensors");
    let mut tensors = read(&path);
    change(&mut tensors);
    // Writing in place is safe here because nothing maps the file yet.
    write(&path, &tensors);
    folder
}
