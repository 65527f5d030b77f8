//! Prints the path of the protobuf compiler that `cargo xtask interop` gives to the build of
//! `etcd-client`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", protoc_bin_vendored::protoc_bin_path()?.display());
    Ok(())
}
