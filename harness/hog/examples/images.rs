//! Packs the filler's and the sandbox's image: `cargo run --example images -- FOLDER-WITH-PROGRAMS OUT.tar`.
//! What comes out is imported with `ctr --namespace k8s.io images import OUT.tar`, or `docker load`.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use plimsoll_hog::image::{Image, write_archive};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(programs), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: images FOLDER-WITH-PROGRAMS OUT.tar".into());
    };
    let hog = std::fs::read(programs.join("plimsoll-hog"))?;
    let pause = std::fs::read(programs.join("plimsoll-pause"))?;
    write_archive(&[Image::hog(&hog), Image::pause(&pause)], BufWriter::new(File::create(output)?))?;
    Ok(())
}
