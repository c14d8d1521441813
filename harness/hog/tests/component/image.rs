//! An archive is what it says it is: every digest is of what it names, and the same input gives it again.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Command;

use plimsoll_hog::image::{Content, File, Image, write_archive};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn archive(images: &[Image<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_archive(images, &mut bytes).unwrap();
    bytes
}

/// Every file of a tar, by its path.
fn files(tar: &[u8]) -> BTreeMap<String, (Vec<u8>, tar::Header)> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, header) = (entry.path().unwrap().display().to_string(), entry.header().clone());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(files.insert(path.clone(), (content, header)).is_none(), "{path} is there twice");
    }
    files
}

/// The blob that a descriptor names, its length and digest checked.
fn blob<'a>(files: &'a BTreeMap<String, (Vec<u8>, tar::Header)>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let content = &files[&format!("blobs/sha256/{digest}")].0;
    assert_eq!(content.len() as u64, descriptor["size"].as_u64().unwrap());
    assert_eq!(digest, hex(content));
    content
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn every_digest_holds_and_the_programs_are_in_it() {
    let tar = archive(&[Image::hog(b"a filler"), Image::pause(b"a pause")]);
    let files = files(&tar);
    assert_eq!(json(&files["oci-layout"].0)["imageLayoutVersion"], "1.0.0");
    let index = json(&files["index.json"].0);
    let expected = [
        ("docker.io/plimsoll/hog:1", "/plimsoll-hog", "plimsoll-hog", &b"a filler"[..]),
        ("docker.io/plimsoll/pause:1", "/plimsoll-pause", "plimsoll-pause", b"a pause"),
    ];
    assert_eq!(index["manifests"].as_array().unwrap().len(), expected.len());
    for ((name, entrypoint, path, program), entry) in
        expected.into_iter().zip(index["manifests"].as_array().unwrap())
    {
        assert_eq!(entry["annotations"]["io.containerd.image.name"], name);
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "1");
        let manifest = json(blob(&files, entry));
        let config = json(blob(&files, &manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!([entrypoint]));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1);
        // An uncompressed layer is its own diff.
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([layers[0]["digest"]]));
        let layer = self::files(blob(&files, &layers[0]));
        let (content, header) = &layer[path];
        assert_eq!(
            (content.as_slice(), header.mode().unwrap(), header.mtime().unwrap()),
            (program, 0o755, 0)
        );
    }
    // What an older engine reads names the same blobs.
    let older = json(&files["manifest.json"].0);
    for (entry, (name, ..)) in older.as_array().unwrap().iter().zip(expected) {
        assert_eq!(entry["RepoTags"], serde_json::json!([name]));
        assert!(files.contains_key(entry["Config"].as_str().unwrap()));
        assert!(files.contains_key(entry["Layers"][0].as_str().unwrap()));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(archive(&[Image::hog(b"x")]), archive(&[Image::hog(b"x")]));
    assert_ne!(archive(&[Image::hog(b"x")]), archive(&[Image::hog(b"y")]));
}

#[test]
fn ballast_is_as_long_as_asked_and_each_is_its_own() {
    let ballast = |name, seed| Image {
        name,
        layers: vec![vec![File {
            path: "/noise",
            mode: 0o644,
            content: Content::Noise { length: 1_000_003, seed },
        }]],
        entrypoint: vec!["/none"],
    };
    let tar = archive(&[
        ballast("docker.io/a/a:1", 1),
        ballast("docker.io/a/b:1", 2),
        ballast("docker.io/a/c:1", 2),
    ]);
    let files = files(&tar);
    let layers: Vec<_> = files.values().filter(|(content, _)| content.len() > 1_000_000).collect();
    // The same noise is stored once; two seeds share nothing.
    assert_eq!(layers.len(), 2);
    for (content, _) in layers {
        assert_eq!(self::files(content)["noise"].0.len(), 1_000_003);
    }
}

#[test]
fn a_tar_program_that_is_not_ours_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    std::fs::write(&path, archive(&[Image::hog(b"a filler")])).unwrap();
    let output = Command::new("tar").arg("-tf").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.ends_with("index.json\nmanifest.json\noci-layout\n"), "{names}");
}
