//! Importing a bundle: what is not whole is never put where runs look for it, and what is there and damaged is replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

const PROGRAM: &str = "bin/kubelet";
const CONTENTS: &str = "as it was built";

/// Packs a bundle of one program, of which what lies in the archive may be other than its checksum says.
fn archive(folder: &Path, program: &str) -> PathBuf {
    let bundle = folder.join("packed");
    let _ = fs::remove_dir_all(&bundle);
    fs::create_dir_all(bundle.join("bin")).expect("a folder");
    let sum: String = Sha256::digest(CONTENTS).iter().map(|byte| format!("{byte:02x}")).collect();
    for (file, text) in [
        ("bundle.json", r#"{"kubernetes":"1.36.3","containerd":"2","runc":"1","key":"abc"}"#.to_owned()),
        ("SIZES", format!("{}  {PROGRAM}\n", CONTENTS.len())),
        ("SHA256SUMS", format!("{sum}  {PROGRAM}\n")),
        (PROGRAM, program.to_owned()),
    ] {
        fs::write(bundle.join(file), text).expect("a file");
    }
    let archive = folder.join("bundle.tar");
    let packed = Command::new("tar").arg("-C").arg(&bundle).arg("-cf").arg(&archive).arg(".").status();
    assert!(packed.expect("tar").success());
    archive
}

fn import(cache: &Path, archive: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["bundle", "--import"])
        .arg(archive)
        .env("PLIMSOLL_CACHE", cache)
        .env_remove("PLIMSOLL_BUNDLE")
        .output()
        .expect("the command runs")
}

fn bundles(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache.join("bundles")).expect("the folder of bundles");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn one_that_is_damaged_is_not_put_where_runs_look() {
    let folder = tempfile::tempdir().expect("a folder");
    // Of the same length.
    let output = import(folder.path(), &archive(folder.path(), "as it was bui1t"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("bundle.tar") && errors.contains("kubelet has checksum"), "{errors}");
    assert!(bundles(folder.path()).is_empty());
}

#[test]
fn one_that_is_whole_takes_the_place_of_one_that_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = archive(folder.path(), CONTENTS);
    assert_eq!(import(folder.path(), &archive).status.code(), Some(0));
    assert_eq!(bundles(folder.path()), ["1.36.3-abc"]);
    let program = folder.path().join("bundles/1.36.3-abc").join(PROGRAM);
    fs::write(&program, "damaged later on").expect("a file");
    let output = import(folder.path(), &archive);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("replaced: the node bundle is damaged"), "{errors}");
    assert_eq!(fs::read_to_string(&program).expect("the program"), CONTENTS);
    assert_eq!(bundles(folder.path()), ["1.36.3-abc"]);
    // And one that is there and whole stays as it is.
    let before = fs::metadata(&program).expect("the program").modified().expect("a time");
    assert_eq!(import(folder.path(), &archive).status.code(), Some(0));
    assert_eq!(fs::metadata(&program).expect("the program").modified().expect("a time"), before);
}
