//! What was tried on the data of rosetta and went wrong, through the real binary: foreign files, odd files, whole homes.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Done, Project, TINY, good, list};
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::{SimpleFileOptions, ZipWriter};

mod common;

// Files as other programs write them.

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, header.as_bytes(), elements].concat()
}

fn safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut end = 0;
    let entries = tensors.iter().map(|(name, shape)| {
        let begin = end;
        end += 4 * shape.iter().product::<usize>();
        format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
    });
    let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), header.as_bytes(), &vec![0; end]].concat()
}

/// A value in a pickle of protocol 2.
enum Pickle<'a> {
    Int(u8),
    Text(&'a str),
    /// A float32 tensor of one axis and 2 elements, in the storage of this key.
    Tensor(&'a str),
    Dict(Vec<(&'a str, Pickle<'a>)>),
    /// A call without arguments.
    Call(&'a str, &'a str),
}

fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X".as_slice(), &length, text.as_bytes()].concat()
}

impl Pickle<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Pickle::Int(number) => vec![b'K', *number],
            Pickle::Text(word) => text(word),
            Pickle::Tensor(key) => [
                b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
                text("storage"),
                b"ctorch\nFloatStorage\n".to_vec(),
                text(key),
                text("cpu"),
                b"K\x02tQK\0(K\x02t(K\x01t\x89ccollections\nOrderedDict\n)RtR".to_vec(),
            ]
            .concat(),
            Pickle::Dict(items) => {
                let items = items.iter().map(|(key, value)| [text(key), value.bytes()].concat());
                [b"}(".to_vec(), items.collect::<Vec<_>>().concat(), b"u".to_vec()].concat()
            }
            Pickle::Call(module, name) => format!("c{module}\n{name}\n)R").into_bytes(),
        }
    }

    fn whole(&self) -> Vec<u8> {
        [b"\x80\x02".as_slice(), &self.bytes(), b"."].concat()
    }

    /// What `torch.save` writes.
    fn saved(&self) -> Vec<u8> {
        let storage = [0; 8].as_slice();
        zip(&[("archive/data.pkl", &self.whole()), ("archive/data/0", storage)])
    }
}

fn dict(items: Vec<(&'static str, Pickle<'static>)>) -> Pickle<'static> {
    Pickle::Dict(items)
}

// What a user sees.

fn import(name: &str, file: &str, bytes: &[u8]) -> (Project, Done) {
    let project = Project::new();
    project.write_bytes(file, bytes);
    let done = project.rosetta(&["data", "import", name, file, "--unverified"]);
    (project, done)
}

/// Holds that each file is refused with these words, and nothing of it kept.
fn refused(name: &str, cases: &[(&str, Vec<u8>, &[&str])]) {
    for (file, bytes, words) in cases {
        let (project, done) = import(name, file, bytes);
        assert_eq!(done.code, Some(2), "{file}: {done:?}");
        for word in *words {
            assert!(done.stderr.contains(word), "{file}: no `{word}` in\n{}", done.stderr);
        }
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        assert!(!project.path(&format!("home/data/{name}")).exists(), "{file} left something");
    }
}

fn taken(name: &str, file: &str, bytes: &[u8]) {
    let (_project, done) = import(name, file, bytes);
    assert_eq!(done.code, Some(0), "{file}: {done:?}");
}

#[test]
fn a_network_that_is_not_resnet50_is_refused_by_its_surplus() {
    let refused = |cases: &[(&str, Vec<u8>, &[&str])]| refused("resnet50", cases);
    let with = |name: &str| safetensors(&[("conv1.weight", &[2]), (name, &[2])]);
    refused(&[
        (
            "resnet101.safetensors",
            with("layer3.6.conv1.weight"),
            &["`layer3.6.conv1.weight`", "a deeper ResNet?"],
        ),
        (
            "resnet152.pth",
            dict(vec![
                ("conv1.weight", Pickle::Tensor("0")),
                ("layer2.4.bn1.bias", Pickle::Tensor("0")),
                ("fc.weight", Pickle::Tensor("0")),
            ])
            .saved(),
            &["`layer2.4.bn1.bias`", "a deeper ResNet?"],
        ),
        (
            "seresnet50.safetensors",
            with("layer1.0.se.fc1.weight"),
            &["`layer1.0.se.fc1.weight`", "squeeze and excitation?"],
        ),
        (
            "folded.safetensors",
            with("layer1.0.conv1.bias"),
            &["`layer1.0.conv1.bias`", "batch norms folded into the convolutions?"],
        ),
        ("moco.safetensors", with("queue"), &["`queue` is not part of ResNet-50"]),
        (
            "fc.safetensors",
            with("fc.weight"),
            &["264 of 265 tensors are missing, `bn1.weight` first"],
        ),
    ]);
}

#[test]
fn a_checkpoint_that_cannot_be_mapped_says_what_it_holds() {
    let net = || dict(vec![("module.conv1.weight", Pickle::Tensor("0"))]);
    refused(
        "resnet50",
        &[
            (
                "model_best.pth.tar",
                dict(vec![
                    ("epoch", Pickle::Int(3)),
                    ("arch", Pickle::Text("resnet50")),
                    ("state_dict", net()),
                ])
                .saved(),
                &["264 of 265 tensors are missing", "`state_dict`", "`module.`"],
            ),
            (
                "two.pth",
                dict(vec![("state_dict", net()), ("state_dict_ema", net())]).saved(),
                &["`state_dict` and `state_dict_ema`", "save one of them alone"],
            ),
            (
                "optimizer.pth",
                dict(vec![("epoch", Pickle::Int(3)), ("optimizer", dict(vec![]))]).saved(),
                &["it has `epoch`, `optimizer`"],
            ),
            (
                "huggingface.bin",
                dict(vec![("resnet.embedder.embedder.convolution.weight", Pickle::Tensor("0"))])
                    .saved(),
                &["264 of 265 tensors are missing", "Hugging Face"],
            ),
            (
                "other.safetensors",
                safetensors(&[("net.body.0.weight", &[2]), ("net.body.0.bias", &[2])]),
                &["2 tensors", "all names begin with `net.body.0.`"],
            ),
            (
                "model.pth",
                Pickle::Call("torchvision.models.resnet", "ResNet").saved(),
                &["torchvision.models.resnet.ResNet", "a whole model?", "state_dict()"],
            ),
            (
                "script.pt",
                zip(&[("net/data.pkl", b"N."), ("net/code/__torch__.py", b"x")]),
                &["a TorchScript program", "state_dict()"],
            ),
            (
                "weights.npz",
                zip(&[("conv1.weight.npy", b"x")]),
                &["no `data.pkl`", "it holds `conv1.weight.npy`"],
            ),
            ("half.pth", Pickle::Call("torch", "HalfStorage").saved(), &["HalfStorage", "float32"]),
        ],
    );
}

#[test]
fn files_are_named_by_what_they_hold() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 97800000\n";
    let plain = tar(&[("cifar-10-batches-bin/data_batch_1.bin", b"x")]);
    let known: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("pointer", pointer.to_vec(), &["a Git LFS pointer", "git lfs pull"]),
        (
            "page",
            b"\n <!DOCTYPE html><html>".to_vec(),
            &["an HTML page", "download the file itself"],
        ),
        ("error", b"<?xml version=\"1.0\"?><Error>".to_vec(), &["an XML text"]),
        ("json", b"{\"message\": \"Not Found\"}".to_vec(), &["a JSON text"]),
        ("empty", Vec::new(), &["an empty file"]),
        ("zeros", vec![0; 4096], &["nothing but zeros"]),
        ("tar", plain.clone(), &["a plain tar"]),
        ("xz", b"\xfd7zXZ\0\0\x04abc".to_vec(), &["an xz file"]),
        ("zst", b"\x28\xb5\x2f\xfdabc".to_vec(), &["a Zstandard file"]),
        ("bz2", b"BZh91AY&SYabc".to_vec(), &["a bzip2 file"]),
        ("h5", b"\x89HDF\r\n\x1a\nabc".to_vec(), &["an HDF5 file"]),
    ];
    for name in ["cifar10", "imdb", "resnet50"] {
        refused(name, &known);
    }
    refused(
        "cifar10",
        &[
            ("a.tar.gz", plain, &["gzip it"]),
            ("b.tar.gz", zip(&[("a", b"x")]), &["a zip archive"]),
            ("c.tar.gz", b"hello".to_vec(), &["it begins with `hello`"]),
        ],
    );
    refused("imdb", &[("imdb.npz", gzip(b"x"), &["a gzip file"])]);
    // Not even a digest that differs is said of what is plainly not the data.
    let project = Project::new();
    project.write_bytes("imdb.npz", pointer);
    let done = project.rosetta(&["data", "import", "imdb", "imdb.npz"]);
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("a Git LFS pointer"), "{}", done.stderr);
    assert!(!done.stderr.contains("--unverified"), "{}", done.stderr);
}

/// A tar of batches in the binary version.
fn binary(record: &[u8]) -> Vec<u8> {
    gzip(&tar(&[("b/data_batch_1.bin", record), ("b/test_batch.bin", record)]))
}

#[test]
fn images_that_are_not_those_of_cifar10_are_refused() {
    let record = |label: u8, pixel: u8| [vec![label], vec![pixel; 3072]].concat();
    let labels = Pickle::Text("x");
    let coarse = dict(vec![("coarse_labels", Pickle::Int(1)), ("fine_labels", labels)]).whole();
    let hundred = gzip(&tar(&[("cifar-100-python/train", b"x"), ("cifar-100-python/test", b"x")]));
    let renamed = gzip(&tar(&[("x/data_batch_1", &coarse), ("x/test_batch", &coarse)]));
    refused(
        "cifar10",
        &[
            ("a", hundred, &["it holds `cifar-100-python/train`", "CIFAR-100?"]),
            ("b", renamed, &["it has `coarse_labels`, `fine_labels`", "CIFAR-100?"]),
            ("c", binary(&record(3, 1)), &["no pixel is above 1", "divided by 255 already?"]),
            ("d", binary(&record(10, 9)), &["label 10", "0 to 9"]),
        ],
    );
    taken("cifar10", "good.tar.gz", &binary(&record(3, 200)));
}

#[test]
fn an_archive_that_is_padded_with_zeros_is_taken() {
    let good = binary(&[vec![3], vec![200; 3072]].concat());
    taken("cifar10", "padded.tar.gz", &[good.clone(), vec![0; 700]].concat());
    // Two members are one file; a zero within is data.
    let (first, second) = (gzip(b""), good.clone());
    taken("cifar10", "members.tar.gz", &[first, vec![0; 512], second].concat());
    let trailing = [good, b"\0\0trailing".to_vec()].concat();
    refused("cifar10", &[("garbage.tar.gz", trailing, &["truncated or damaged"])]);
}

/// A `.npz` of reviews, each a list of words below 256, and labels.
fn reviews(reviews: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u8]| words.iter().flat_map(|word| [b'K', *word]).collect::<Vec<_>>();
    let lists = reviews.iter().map(|review| [b"](", words(review).as_slice(), b"e"].concat());
    let count = reviews.len() as u8;
    let array = [
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R".to_vec(),
        vec![b'(', b'K', 1, b'K', count, 0x85],
        b"cnumpy\ndtype\nU\x02O8K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89](".to_vec(),
        lists.collect::<Vec<_>>().concat(),
        b"etb.".to_vec(),
    ]
    .concat();
    let x = npy("|O", &format!("({count},)"), &array);
    let y = npy("|u1", &format!("({count},)"), &vec![1; reviews.len()]);
    zip(&[("x_train.npy", &x), ("y_train.npy", &y), ("x_test.npy", &x), ("y_test.npy", &y)])
}

#[test]
fn reviews_that_were_processed_already_are_refused() {
    let raw = (0..8).map(|row| (1 + row..100 + row).collect::<Vec<u8>>()).collect::<Vec<_>>();
    taken("imdb", "imdb.npz", &reviews(&raw));
    let each = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut all = raw.clone();
        all.iter_mut().for_each(change);
        reviews(&all)
    };
    let started = each(&|review| {
        review.iter_mut().for_each(|word| *word += 3);
        review.insert(0, 1);
    });
    let shifted = each(&|review| review.iter_mut().for_each(|word| *word += 3));
    let padded = each(&|review| review.push(0));
    let x = npy("<i4", "(2, 150)", &[0; 1200]);
    let y = npy("|u1", "(2,)", &[0, 1]);
    let square =
        zip(&[("x_train.npy", &x), ("y_train.npy", &y), ("x_test.npy", &x), ("y_test.npy", &y)]);
    let mnist = npy("|u1", "(2, 28, 28)", &[0; 1568]);
    let mnist = zip(&[("x_train.npy", &mnist), ("y_train.npy", &y)]);
    refused(
        "imdb",
        &[
            ("a.npz", started, &["every review begins with word 1", "already?"]),
            ("b.npz", shifted, &["no review has word 1", "already?"]),
            ("c.npz", padded, &["review 0 has word 0", "padded already?"]),
            ("d.npz", square, &["(2, 150) of int32", "padded already?"]),
            ("e.npz", mnist, &["(2, 28, 28) of uint8", "a list of words per review"]),
            ("g.npz", each(&|review| review.clear()), &["review 0 has no words"]),
            ("f.npz", zip(&[("x.npy", &y), ("y.npy", &y)]), &["no array `x_train`", "`x.npy`"]),
        ],
    );
}
// Homes and odd files.

/// Runs a command that must end by itself.
fn in_time(mut command: Command) -> Done {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Done::of(child.wait_with_output().unwrap())
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_fifo_or_device_is_refused_at_once() {
    for kind in ["fifo", "device", "folder"] {
        let odd = |path: &Path| {
            let _ = fs::remove_file(path);
            match kind {
                "fifo" => fifo(path),
                "device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
                _ => fs::create_dir(path).unwrap(),
            }
        };
        let project = Project::new().harness("fake", &good());
        odd(&project.path("archive"));
        let import = ["data", "import", "imdb", "archive", "--unverified"];
        let done = in_time(project.command(&import));
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains("is not a regular file"), "{done:?}");
        for array in ["x_train", "y_test"] {
            let project = Project::new().harness("fake", &good());
            odd(&project.path(&format!("specs/{array}.npy")));
            let run = ["run", "--provider", "system", "--python", "./python", "--device", "cpu"];
            let done = in_time(project.command(&run));
            assert_ne!(done.code, Some(0), "{kind} {array}: {done:?}");
            assert!(done.stderr.contains("is not a regular file"), "{kind} {array}: {done:?}");
        }
        odd(&project.path("specs/tiny.yaml"));
        let done = in_time(project.command(&["lint"]));
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains("is not a regular file"), "{done:?}");
    }
}

#[test]
fn verify_without_names_is_content_with_a_healthy_home() {
    let project = Project::new().harness("fake", &good());
    let done = project.rosetta(&["data", "verify"]);
    assert_eq!(done.code, Some(0), "an empty home: {done:?}");
    assert_eq!(project.run(&[]).code, Some(0));
    let done = project.rosetta(&["data", "verify"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("weights"), "what was made for experiments too: {done:?}");
    // A name that is given must be there.
    assert_eq!(project.rosetta(&["data", "verify", "imdb"]).code, Some(2));

    let order = list(&project.path("home/data/orders")).remove(0).join("order.npy");
    let mut bytes = fs::read(&order).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&order, bytes).unwrap();
    let done = project.rosetta(&["data", "verify"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("order.npy` changed since it was made"), "{done:?}");
}

#[test]
fn damaged_data_is_one_row_and_does_not_hide_others() {
    let (project, done) =
        import("cifar10", "a.tar.gz", &binary(&[vec![3], vec![200; 3072]].concat()));
    assert_eq!(done.code, Some(0));
    project.write("home/data/imdb/synthetic/manifest.json", "{");
    project.write("home/data/random-images/synthetic/manifest.json", "{");
    let done = project.rosetta(&["data", "list"]);
    let rows = done.stdout.lines().filter(|line| line.contains("imdb")).collect::<Vec<_>>();
    assert_eq!(
        rows.iter().filter(|row| row.trim_start().starts_with("imdb")).count(),
        1,
        "{rows:?}"
    );
    assert!(!rows.iter().any(|row| row.contains("not here yet")), "{rows:?}");
    let done = project.rosetta(&["data", "verify"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    for name in ["imdb", "random-images"] {
        assert!(done.stderr.contains(&format!("synthetic `{name}` is damaged")), "{done:?}");
    }
    assert!(done.stderr.contains("✓ verify cifar10 is done"), "{done:?}");
}

#[test]
fn counts_without_end_in_a_spec_are_refused_with_what_is_allowed() {
    let cases = [
        ("epochs: 1}", "epochs: 1000000000000}", "`epochs` must be a whole number from 1 to 10000"),
        (
            "batch_size: 4",
            "batch_size: 9000000000",
            "`batch_size` must be a whole number from 1 to",
        ),
        (
            "settings:",
            "check: {batch_size: 0}\nsettings:",
            "`batch_size` must be a whole number from 1 to 1000000",
        ),
        ("[3, 2]", "[32768, 32768]", "the weights have 2147483648 elements; at most 1073741824"),
    ];
    for (from, to, words) in cases {
        let project = Project::new().harness("fake", &good());
        let tiny = TINY
            .replace("epochs: 1,", "")
            .replace("learning_rate: 0.1}", "learning_rate: 0.1, epochs: 1}");
        let spec = tiny.replace(from, to);
        assert_ne!(spec, tiny, "{from}");
        let spec = spec.replace("dense.bias, shape: [3]", "dense.bias, shape: [1073741824]");
        project.write("specs/tiny.yaml", &spec);
        let done = in_time(project.command(&["lint"]));
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains(words), "no `{words}` in\n{}", done.stderr);
        assert!(done.stderr.contains("tiny.yaml"), "{done:?}");
    }
}

#[test]
fn what_a_killed_make_left_is_swept_by_the_next_make_of_anything() {
    let project = Project::new().harness("fake", &good());
    let left = ["orders/.making-1-9-9", "weights/.making-x", "cifar10/.making-synthetic"];
    for left in left {
        project.write(&format!("home/data/{left}/half.npy"), "half");
    }
    // A folder that was being replaced when rosetta was killed is what counts.
    project.write("home/data/imdb/.old-real/manifest.json", "{}");
    assert_eq!(project.run(&[]).code, Some(0));
    for left in left {
        assert!(!project.path(&format!("home/data/{left}")).exists(), "{left}");
    }
    assert!(project.path("home/data/imdb/real/manifest.json").exists());
}

#[test]
fn a_small_file_that_unpacks_to_a_large_program_is_refused_in_bounded_memory() {
    // 16 MB of numbers to push, which zip to 16 KB.
    let push = [b"\x80\x02(".as_slice(), &b"K\x01".repeat(9 << 20), b"l."].concat();
    let words = "at most 16777216 are read";
    refused("resnet50", &[("bomb.pth", zip(&[("a/data.pkl", &push)]), &[words])]);
}

#[test]
fn own_files_that_are_something_else_are_named() {
    for (bytes, words) in [
        (b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "a Git LFS pointer"),
        (zip(&[("x_train.npy", b"x")]), "a zip archive"),
        (b"\x89HDF\r\n\x1a\n".to_vec(), "an HDF5 file"),
        (Vec::new(), "an empty file"),
    ] {
        let project = Project::new().harness("fake", &good());
        project.write_bytes("specs/x_train.npy", &bytes);
        let done = project.run(&[]);
        assert_ne!(done.code, Some(0), "{done:?}");
        assert!(done.stderr.contains("tiny.yaml:7:"), "{done:?}");
        let words = format!("not a .npy file, as `numpy.save` writes: it is {words}");
        assert!(done.stderr.contains(&words), "no `{words}` in\n{}", done.stderr);
    }
}

#[test]
fn labels_in_a_file_without_end_are_read_piece_by_piece() {
    // A sparse file of 64 GB whose header is right: nothing of it may be held at once.
    let project = Project::new().harness("fake", &good());
    let header = npy("<i8", "(8589934592,)", &[]);
    project.write_bytes("specs/y_train.npy", &[header.as_slice(), &(-1i64).to_le_bytes()].concat());
    let file = fs::OpenOptions::new().write(true).open(project.path("specs/y_train.npy")).unwrap();
    file.set_len(header.len() as u64 + (64 << 30)).unwrap();
    let run = ["run", "--provider", "system", "--python", "./python", "--device", "cpu"];
    let done = in_time(project.command(&run));
    assert!(done.stderr.contains("label -1 in row 0"), "{done:?}");
}

#[test]
fn a_divisor_that_is_none_is_refused() {
    for divisor in ["0", "-1", ".nan"] {
        let project = Project::new();
        let with = format!("y_test: y_test.npy}}\n  divide_by: {divisor}");
        project.write("specs/tiny.yaml", &TINY.replace("y_test: y_test.npy}", &with));
        let done = project.rosetta(&["lint"]);
        assert_eq!(done.code, Some(2), "{divisor}: {done:?}");
        assert!(done.stderr.contains("divide_by"), "{divisor}: {done:?}");
    }
}
