//! The first program of the machine of `cargo vmtest`. It powers its computer off at the end, so it refuses to run
//! anywhere else.

fn main() {
    if std::process::id() != 1 {
        eprintln!("this is the first program of a machine of its own; run `cargo vmtest`");
        std::process::exit(1);
    }
    keepsake_labs::vm::guest::run()
}
