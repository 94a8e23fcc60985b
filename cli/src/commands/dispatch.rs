//! From the verb that was typed to the function that does it.

use bound_images_lib::child::Interrupt;

use super::{check, list, plan, prune, pull};
use crate::args::{Args, Verb};
use crate::exit::Exit;
use crate::output::progress::Progress;

/// Runs the verb that was typed.
pub(crate) async fn run(
    args: &Args,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let global = &args.global;
    match &args.verb {
        Verb::List(verb) => list::run(global, verb, interrupt, progress),
        Verb::Check(verb) => check::run(global, verb, progress),
        Verb::Plan(verb) => plan::run(global, verb, interrupt, progress),
        Verb::Pull(verb) => pull::run(global, verb, interrupt, progress).await,
        Verb::Prune(verb) => prune::run(global, verb, interrupt, progress).await,
    }
}
