//! `auth diagnose`.

use super::args;

/// Credential profiles are a later version's; saying so beats a plan that is not carried out.
pub fn run(args: &args::Auth) -> anyhow::Result<()> {
    let args::AuthVerb::Diagnose { .. } = &args.verb;
    anyhow::bail!(
        "this version of fracta does not deliver credential profiles yet: every runtime uses the CLI's own login and the inherited environment"
    )
}
