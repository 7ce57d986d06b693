//! Files of a user's own experiment, as the callers of the store see them.

use std::fs;
use std::sync::Mutex;

use super::{DataPlace, npy};
use crate::data::Dtype;
use crate::progress::Progress;
use crate::spec::{Experiment, Source};

#[test]
fn own_files_are_used_where_they_lie() {
    let place = DataPlace::new();
    place.file("x.npy", &npy("|u1", "(2, 3)", &[5; 6]));
    place.file("y.npy", &npy("<i8", "(2,)", &[0; 16]));
    let data =
        "{files: {x_train: x.npy, y_train: y.npy, x_test: x.npy, y_test: y.npy}, divide_by: 255}";
    let experiment = place.experiment(data);
    let hashed = Mutex::new(0);
    let ready = || {
        place.store.ready(&experiment, None, &|progress| {
            if matches!(progress, Progress::Doing(_)) {
                *hashed.lock().unwrap() += 1;
            }
        })
    };
    let dataset = ready().unwrap();
    assert_eq!(dataset.source, Source::Own);
    assert_eq!(dataset.arrays["x_train"].divide_by, Some(255.0));
    assert_eq!(dataset.arrays["y_train"].divide_by, None);
    assert_eq!(dataset.arrays["x_train"].path, place.folder.path().join("x.npy"));
    assert_eq!(*hashed.lock().unwrap(), 2);
    assert_eq!(ready().unwrap().digest, dataset.digest);
    assert_eq!(*hashed.lock().unwrap(), 2);
    place.file("y.npy", &npy("<i8", "(2,)", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_ne!(ready().unwrap().digest, dataset.digest);
    assert!(place.store.ready(&experiment, Some(Source::Synthetic), &|_| ()).is_err());
}

/// An experiment whose own files are these inputs, for training and test, and labels 0 and 1.
fn with_inputs(place: &DataPlace, x: &[u8], y: &[u8]) -> Experiment {
    place.file("x.npy", x);
    place.file("y.npy", y);
    place.experiment("{files: {x_train: x.npy, y_train: y.npy, x_test: x.npy, y_test: y.npy}}")
}

#[test]
fn own_files_of_other_types_and_orders_are_converted_once() {
    let plain_x = npy("<f4", "(2, 2)", &[1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    let plain_y = npy("<i4", "(2,)", &[0, 0, 0, 0, 1, 0, 0, 0]);
    let f16 = [0x3c00u16, 0x4000, 0x4200, 0x4400].map(u16::to_le_bytes).concat();
    let big = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_be_bytes).concat();
    let columns = [1.0f32, 3.0, 2.0, 4.0].map(f32::to_le_bytes).concat();
    let fortran = {
        let text = String::from_utf8_lossy(&npy("<f4", "(2, 2)", &[])[10..]).into_owned();
        let header = text.replace("False", "True ");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), &columns].concat()
    };
    let cases = [
        ("float16", npy("<f2", "(2, 2)", &f16), Dtype::Float32),
        ("big-endian", npy(">f4", "(2, 2)", &big), Dtype::Float32),
        ("Fortran", fortran, Dtype::Float32),
        ("bool", npy("|b1", "(2, 2)", &[1, 0, 0, 1]), Dtype::Uint8),
        ("int8", npy("|i1", "(2, 2)", &[1, 2, 3, 4]), Dtype::Int32),
        ("uint16", npy("<u2", "(2, 2)", &[1, 0, 2, 0, 3, 0, 4, 0]), Dtype::Int32),
        ("uint32", npy("<u4", "(2,)", &[1, 0, 0, 0, 2, 0, 0, 0]), Dtype::Int64),
    ];
    for (what, bytes, dtype) in cases {
        let place = DataPlace::new();
        let experiment = with_inputs(&place, &bytes, &plain_y);
        let dataset = place.store.ready(&experiment, None, &|_| ()).unwrap();
        let array = &dataset.arrays["x_train"];
        assert_eq!(array.dtype, dtype, "{what}");
        assert!(array.path.starts_with(place.store.root.join("converted")), "{what}");
        assert_eq!(fs::read(place.folder.path().join("x.npy")).unwrap(), bytes, "{what}");
        if dtype == Dtype::Float32 {
            let stored = fs::read(&array.path).unwrap();
            assert_eq!(stored[stored.len() - 16..], plain_x[plain_x.len() - 16..], "{what}");
        }
        let quiet = |progress| assert!(!matches!(progress, Progress::Doing(_)), "made again");
        let again = place.store.ready(&experiment, None, &quiet).unwrap();
        assert_eq!((again.digest, again.source), (dataset.digest, Source::Own));
        assert_eq!(place.store.verify_made(&|_| ()).unwrap().len(), 1, "{what}");
    }
}

#[test]
fn own_labels_of_other_types_are_converted_to_int32() {
    let x = npy("|u1", "(2, 3)", &[5; 6]);
    let cases: [(&str, &[u8]); 5] = [
        ("|b1", &[0, 1]),
        (">i2", &[0, 0, 0, 1]),
        ("<u8", &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("<f4", &[0, 0, 0, 0, 0, 0, 0x80, 0x3f]),
        ("<f2", &[0, 0, 0, 0x3c]),
    ];
    for (descr, bytes) in cases {
        let place = DataPlace::new();
        let experiment = with_inputs(&place, &x, &npy(descr, "(2,)", bytes));
        let dataset = place.store.ready(&experiment, None, &|_| ()).unwrap();
        let labels = &dataset.arrays["y_train"];
        assert_eq!(labels.dtype, Dtype::Int32, "{descr}");
        let stored = fs::read(&labels.path).unwrap();
        assert_eq!(stored[stored.len() - 8..], [0, 0, 0, 0, 1, 0, 0, 0], "{descr}");
        assert_eq!(dataset.arrays["x_train"].path, place.folder.path().join("x.npy"));
    }
}

#[test]
fn own_files_that_cannot_be_used_are_named() {
    let good = npy("|u1", "(2, 3)", &[5; 6]);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("x_train", b"hello, world".to_vec(), "not a .npy file"),
        ("x_train", good[..good.len() - 1].to_vec(), "truncated?"),
        (
            "x_train",
            npy("<c8", "(2, 3)", &[0; 48]),
            "elements of type `<c8` are not supported; bool,",
        ),
        (
            "x_train",
            npy("<u8", "(2, 3)", &[255; 48]),
            "element 0 is 18446744073709551615; int64 holds no such number",
        ),
        (
            "x_train",
            npy("|O", "(1,)", b"cos\nsystem\n."),
            "elements of type `|O` are not supported",
        ),
        ("x_train", npy("|u1", "(0, 3)", &[]), "it has no rows"),
        ("x_train", npy("|u1", "(3, 3)", &[0; 9]), "`x_train` has 3 rows but `y_train` has 2"),
        ("x_test", npy("|u1", "(2, 4)", &[0; 8]), "rows of `x_train` are (3,), of `x_test` (4,)"),
        (
            "y_train",
            npy("<f4", "(2,)", &[0, 0, 0, 0, 0, 0, 0, 0x3f]),
            "label 0.5 in row 1 (float32); labels are whole numbers from 0 up",
        ),
        (
            "y_train",
            npy("<u4", "(2,)", &[0, 0, 0, 0, 255, 255, 255, 255]),
            "label 4294967295 in row 1; labels go up to 2147483647",
        ),
        (
            "y_train",
            npy(">i2", "(2,)", &[0, 0, 255, 255]),
            "label -1 in row 1; labels count from 0",
        ),
        ("y_train", npy("<i4", "(2, 1)", &[0; 8]), "labels have one axis, not (2, 1)"),
        ("y_train", npy("<i4", "(2,)", &[0, 0, 0, 0, 255, 255, 255, 255]), "label -1 in row 1"),
    ];
    for (array, bytes, expected) in cases {
        let place = DataPlace::new();
        for name in ["x_train", "x_test"] {
            place.file(&format!("{name}.npy"), &good);
        }
        for name in ["y_train", "y_test"] {
            place.file(&format!("{name}.npy"), &npy("<i4", "(2,)", &[0; 8]));
        }
        place.file(&format!("{array}.npy"), bytes);
        let files =
            ["x_train", "y_train", "x_test", "y_test"].map(|name| format!("{name}: {name}.npy"));
        let experiment = place.experiment(&format!("{{files: {{{}}}}}", files.join(", ")));
        let error = place.store.ready(&experiment, None, &|_| ()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains("toy"), "{error}");
        let is_of_one_file = !error.contains("rows");
        assert!(!is_of_one_file || error.contains(&format!("npy` as `{array}`")), "{error}");
    }
}
