//! The first program of the machine that `cargo vmtest` starts. On any other computer it would end that computer, so it
//! refuses unless it is the first one.

fn main() {
    if std::process::id() != 1 {
        eprintln!("this is the first program of a machine of its own; run `cargo vmtest`");
        std::process::exit(1);
    }
    keepsake_labs::vm::guest::run()
}
