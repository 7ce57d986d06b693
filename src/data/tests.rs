//! The store as its callers see it: small twins, small archives, hostile ones.

use std::fs;
use std::path::{Path, PathBuf};

use tar::EntryType;
use tempfile::TempDir;

use super::archive::tests::{entry, gzip, tar, zip};
use super::known::DataKind;
use super::sealed::{self, ArrayPlan};
use super::store::IMPORT_RECIPE;
use super::{DataStore, Dtype};
use crate::hint::Hinted;
use crate::progress::Progress;
use crate::spec::{Experiment, Source};

const BINARY: &[u8] = include_bytes!("../../tests/fixtures/data/cifar-10-binary.tar.gz");
const PYTHON: &[u8] = include_bytes!("../../tests/fixtures/data/cifar-10-python.tar.gz");
const IMDB: &[u8] = include_bytes!("../../tests/fixtures/data/imdb.npz");

mod own;

struct DataPlace {
    folder: TempDir,
    store: DataStore,
}

impl DataPlace {
    fn new() -> DataPlace {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let sizes = |kind| match kind {
            DataKind::RandomImages => [0, 2],
            _ => [40, 20],
        };
        DataPlace { folder, store: DataStore { root, sizes } }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn import(&self, name: &str, file: &str, bytes: &[u8]) -> Result<super::StoredData, String> {
        let path = self.file(file, bytes);
        let imported = self.store.import(name, &path, true, &|_| ());
        imported.map_err(|error| format!("{error:#}"))
    }

    fn experiment(&self, data: &str) -> Experiment {
        let text = format!(
            "version: 1\nname: toy\ntitle: Toy\ntask: classification\nseed: 7\ndata: {data}\n\
             settings: {{batch_size: 2, epochs: 1}}\nprofiles: {{full: {{rows: {{}}, timeout: 1m}}}}\n\
             initial_weights: {{tensors: [{{name: w, shape: [4, 3], init: glorot_uniform}},\n\
             {{name: b, shape: [4], init: zeros}}]}}\n"
        );
        Experiment::load(&self.file("toy.yaml", text.as_bytes())).unwrap()
    }

    /// Puts a data set into the store as if its authors' archive had been imported.
    fn pretend(&self, source: Source) {
        let folder = self.store.root.join("cifar10").join(source.as_str());
        let recipe = IMPORT_RECIPE;
        let plan = ArrayPlan { folder: &folder, name: "cifar10", source, recipe, archive: None };
        let filled = sealed::replace(&self.store.root, plan, &|_| (), |making| {
            making.array("x_test", Dtype::Uint8, &[4], None, |writer| writer.write(&[1; 4]))
        });
        filled.unwrap();
    }
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), elements].concat()
}

fn plain(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(&format!("cifar-10-batches/{name}"), EntryType::Regular, "", bytes)
}

#[test]
fn both_versions_of_cifar10_give_the_same_arrays() {
    let place = DataPlace::new();
    let binary = place.import("cifar10", "binary.tar.gz", BINARY).unwrap();
    let python = place.import("cifar10", "python.tar.gz", PYTHON).unwrap();
    assert_eq!(binary.digest, python.digest);
    assert_eq!(python.source, Source::Unverified);
    assert_eq!(python.arrays[0], ("x_train".to_owned(), vec![15, 3, 32, 32]));
    assert_eq!(python.archive.unwrap().file, "python.tar.gz");
    let experiment = place.experiment("{dataset: cifar10}");
    let dataset = place.store.ready(&experiment, None, &|_| ()).unwrap();
    assert_eq!((dataset.source, dataset.digest), (Source::Unverified, python.digest));
    assert_eq!(dataset.arrays["x_train"].divide_by, Some(255.0));
    assert_eq!(dataset.arrays["y_test"].dtype, Dtype::Int32);
}

#[test]
fn imdb_is_cut_and_padded() {
    let place = DataPlace::new();
    let imdb = place.import("imdb", "imdb.npz", IMDB).unwrap();
    assert_eq!(imdb.arrays[0], ("x_train".to_owned(), vec![4, 150]));
    let bytes = fs::read(imdb.folder.join("x_train.npy")).unwrap();
    let token = |at: usize| i32::from_le_bytes(bytes[128 + 4 * at..][..4].try_into().unwrap());
    // The first review of the fixture has words 1, 32, 63 …, 20 of them.
    assert_eq!([token(0), token(1), token(2), token(20), token(21)], [1, 4, 35, 593, 0]);
}

#[test]
fn numbers_of_other_types_and_orders_are_the_same_data() {
    let place = DataPlace::new();
    let fortran = include_bytes!("../../tests/fixtures/data/cifar10-fortran.tar.gz").as_slice();
    let int16 = include_bytes!("../../tests/fixtures/data/cifar10-int16-labels.tar.gz");
    let uint16 = include_bytes!("../../tests/fixtures/data/imdb-uint16.npz").as_slice();
    let bools = include_bytes!("../../tests/fixtures/data/imdb-bool-labels.npz");
    for (name, plain, others) in
        [("cifar10", PYTHON, [fortran, int16]), ("imdb", IMDB, [uint16, bools])]
    {
        let digest = place.import(name, "plain", plain).unwrap().digest;
        for other in others {
            assert_eq!(place.import(name, "other", other).unwrap().digest, digest);
        }
    }
}

#[test]
fn archives_of_others_need_unverified() {
    let place = DataPlace::new();
    let path = place.file("cifar-10-binary.tar.gz", BINARY);
    let error = place.store.import("cifar10", &path, false, &|_| ()).unwrap_err();
    let message = error.to_string();
    for part in
        ["not an archive that the authors of `cifar10` published", "of 170052171 bytes", "c32a1d4a"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(error.downcast_ref::<Hinted>().unwrap().hints[0].contains("--unverified"));
    assert!(!place.store.root.exists());
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let record = [vec![3], vec![7; 3072]].concat();
    let train = plain("data_batch_1.bin", &record);
    let test = plain("test_batch.bin", &record);
    let archive = |entries: &[Vec<u8>]| gzip(&tar(entries));
    let evil = plain("data_batch_1", b"\x80\x02cos\nsystem\n(S'id'\ntR.");
    let whole = archive(&[train.clone(), test.clone()]);
    let label = plain("test_batch.bin", &[vec![10], vec![7; 3072]].concat());
    let huge = plain("test_batch.bin", &record.repeat(10_001));
    let link = entry("cifar-10-batches/test_batch.bin", EntryType::Symlink, "/etc/passwd", b"");
    let climbing = entry("../test_batch.bin", EntryType::Regular, "", &record);
    let mut bomb = zip(&[("x_train.npy", b"")]);
    let central = bomb.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    bomb[central + 24..central + 28].fill(0x7f);
    let labels = npy("<i8", "(1,)", &[0; 8]);
    let reviews = |pickle: &[u8]| {
        zip(&[("x_train.npy", &npy("|O", "(1,)", pickle)), ("y_train.npy", &labels)])
    };
    let mut safetensors = 90u64.to_le_bytes().to_vec();
    safetensors.extend(
        b"{\"conv1.weight\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 9]}}",
    );
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("cifar10", archive(&[climbing, test.clone()]), "leads outside the archive"),
        ("cifar10", archive(&[train.clone(), link]), "is a symbolic link"),
        ("cifar10", archive(&[evil, test.clone()]), "asks for `os.system`"),
        ("imdb", bomb, "`x_train.npy` unpacks to 2139062143 bytes"),
        ("cifar10", whole[..whole.len() - 9].to_vec(), "truncated or damaged"),
        ("cifar10", archive(std::slice::from_ref(&train)), "no test images"),
        (
            "cifar10",
            archive(&[plain("data_batch_1.bin", b"x"), test]),
            "1 bytes are not a whole number",
        ),
        ("cifar10", archive(&[train.clone(), label]), "label 10; 0 to 9"),
        ("cifar10", archive(&[train, huge]), "10001 images, more than 10000"),
        ("cifar10", b"hello".to_vec(), "not a .tar.gz archive: it begins with `hello`"),
        ("imdb", b"hello".to_vec(), "not a .npz archive"),
        ("imdb", zip(&[("x_train.npy", &labels)]), "no array `y_train`"),
        ("imdb", zip(&[("../x_train.npy", &labels)]), "leads outside the archive"),
        ("imdb", reviews(b"cposix\nsystem\n."), "asks for `posix.system`"),
        ("imdb", reviews(b"N."), "its pickle is not an array"),
        ("resnet50", b"hello".to_vec(), "not a .pth file"),
        ("resnet50", zip(&[("archive/data.pkl", b"cos\nsystem\n.")]), "asks for `os.system`"),
        ("resnet50", b"\x80\x02cos\nsystem\n.".to_vec(), "asks for `os.system`"),
        ("resnet50", safetensors, "header is cut off"),
    ];
    for (name, bytes, expected) in cases {
        let place = DataPlace::new();
        let error = place.import(name, "archive", bytes).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.starts_with("cannot import `"), "{error}");
        assert!(!place.store.root.exists());
    }
}

#[test]
fn best_source_is_taken_unless_one_is_named() {
    let place = DataPlace::new();
    let experiment = place.experiment("{dataset: cifar10}");
    let source =
        |choice| place.store.ready(&experiment, choice, &|_| ()).map(|dataset| dataset.source);
    assert_eq!(source(None).unwrap(), Source::Synthetic);
    let error = source(Some(Source::Real)).unwrap_err();
    assert_eq!(error.to_string(), "there is no real `cifar10` on this machine");
    place.pretend(Source::Unverified);
    assert_eq!(source(None).unwrap(), Source::Unverified);
    place.pretend(Source::Real);
    assert_eq!(source(None).unwrap(), Source::Real);
    assert_eq!(source(Some(Source::Unverified)).unwrap(), Source::Unverified);
    assert_eq!(source(Some(Source::Synthetic)).unwrap(), Source::Synthetic);
    assert!(source(Some(Source::Own)).is_err());
    let found = &place.store.list()[0];
    assert_eq!((found.known.name, found.stored.len()), ("cifar10", 3));
}

#[test]
fn damaged_data_is_named() {
    let place = DataPlace::new();
    place.pretend(Source::Real);
    place.store.make("cifar10", &|_| ()).unwrap();
    assert_eq!(place.store.verify("cifar10", &|_| ()).unwrap().len(), 2);
    let file = place.store.root.join("cifar10/real/x_test.npy");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() = 0;
    fs::write(&file, bytes).unwrap();
    let experiment = place.experiment("{dataset: cifar10}");
    let found = [
        place.store.verify("cifar10", &|_| ()).unwrap_err(),
        place.store.ready(&experiment, None, &|_| ()).unwrap_err(),
    ];
    for error in found {
        let message = format!("{error:#}");
        assert!(message.starts_with("real `cifar10` is damaged: `"), "{message}");
        assert!(message.contains("x_test.npy` changed since it was made"), "{message}");
    }
    assert!(place.store.verify("imdb", &|_| ()).is_err());
}

#[test]
fn twins_are_of_the_shape_of_the_real_sets() {
    let place = DataPlace::new();
    let shapes = |name: &str| place.store.make(name, &|_| ()).unwrap().arrays;
    let shape = |name: &str, sizes: &[usize]| (name.to_owned(), sizes.to_vec());
    assert_eq!(
        shapes("cifar10"),
        [
            shape("x_train", &[40, 3, 32, 32]),
            shape("y_train", &[40]),
            shape("x_test", &[20, 3, 32, 32]),
            shape("y_test", &[20]),
        ]
    );
    assert_eq!(shapes("imdb")[0], shape("x_train", &[40, 150]));
    assert_eq!(shapes("random-images"), [shape("x_test", &[2, 3, 224, 224])]);
    assert!(place.store.make("resnet50", &|_| ()).is_err());
    // What `data make` without names asks for is just what can be made.
    assert_eq!(place.store.twins(), ["cifar10", "imdb", "random-images"]);
    place.store.twins().iter().for_each(|name| drop(place.store.make(name, &|_| ()).unwrap()));
}

#[test]
fn weights_and_orders_come_from_the_seed() {
    let place = DataPlace::new();
    let experiment = place.experiment("{dataset: cifar10}");
    let weights = place.store.weights(&experiment, &|_| ()).unwrap();
    assert_eq!(weights.names, ["w", "b"]);
    assert!(weights.folder.join("w.npy").exists());
    let again = place.store.weights(&experiment, &|_| ()).unwrap();
    assert_eq!((again.folder, again.digest), (weights.folder, weights.digest.clone()));
    let mut other = experiment.clone();
    other.spec.seed = 8;
    assert_ne!(place.store.weights(&other, &|_| ()).unwrap().digest, weights.digest);
    other.spec.initial_weights.tensors.clear();
    assert!(place.store.weights(&other, &|_| ()).unwrap().names.is_empty());

    let error = place.store.order(7, 1_000_000, 50_000).unwrap_err().to_string();
    assert!(error.contains("takes 200000000000 bytes; at most 4294967296 are written"), "{error}");
    let order = place.store.order(7, 2, 5).unwrap();
    let bytes = fs::read(&order.path).unwrap();
    let rows =
        bytes[128..].chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap()));
    let rows = rows.collect::<Vec<_>>();
    for epoch in rows.chunks(5) {
        let mut sorted = epoch.to_vec();
        sorted.sort();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
    assert_ne!(rows[..5], rows[5..]);
    // Changes only together with `weights::ORDER_RECIPE`.
    assert_eq!(rows[..5], [4, 1, 2, 0, 3]);
    assert_eq!(place.store.verify_made(&|_| ()).unwrap().len(), 3);
}

#[test]
fn unusable_folder_is_explained() {
    let place = DataPlace::new();
    place.file("store", b"in the way");
    let error = place.store.make("imdb", &|_| ()).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("a file is in the way"), "{message}");
}

#[test]
fn names_that_mean_nothing_here_are_explained() {
    let place = DataPlace::new();
    let quiet = &|_: Progress| ();
    let message = |error: anyhow::Error| error.to_string();
    assert!(message(place.store.make("mnist", quiet).unwrap_err()).contains("known: `cifar10`"));
    let fetched = place.store.fetch("random-images", quiet);
    assert_eq!(message(fetched.unwrap_err()), "`random-images` is made, not fetched");
    let missing = place.store.import("imdb", Path::new("/nowhere/imdb.npz"), true, quiet);
    assert_eq!(message(missing.unwrap_err()), "cannot import `/nowhere/imdb.npz`");
    let folder = place.store.import("imdb", place.folder.path(), true, quiet);
    assert!(
        format!("{:#}", folder.unwrap_err()).ends_with("it is not a regular file but a folder")
    );
}
