//! The `bound-images` command: arguments in, documents and messages out, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bound_images::run(std::env::args_os())
}
