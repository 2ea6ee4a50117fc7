//! New keys. Only the public half is ever printed.

use std::path::Path;

use clap::ValueEnum;
use schemas::ids::KeyId;
use schemas::keys::{OpeningKey, SigningKey};
use schemas::wire::PublicKey;
use zeroize::Zeroizing;

use super::{RegistryCommandError, files};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Signs what a party says.
    Signing,
    /// Opens what is sealed to a party.
    Opening,
    /// Signs registry entries, offline.
    Root,
}

/// Makes a key in a new file and says its public half.
pub(super) fn create(kind: Kind, out: &Path) -> Result<String, RegistryCommandError> {
    let (secret, public, id) = generate(kind);
    files::write_secret(out, Zeroizing::new(hex::encode(secret.as_slice())).as_bytes())?;
    Ok(format!("public  {}\nkey id  {id}", hex::encode(&public.raw)))
}

fn generate(kind: Kind) -> (Zeroizing<[u8; 32]>, PublicKey, KeyId) {
    match kind {
        Kind::Signing | Kind::Root => {
            let seed = Zeroizing::new(rand::random::<[u8; 32]>());
            let key = SigningKey::from_seed(&seed);
            (seed, key.public().to_wire(), key.id())
        }
        Kind::Opening => {
            let key = OpeningKey::generate();
            (key.to_raw(), key.public().to_wire(), key.id())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use plumbing::exit::Exit;
    use plumbing::key_file;

    use super::*;

    #[test]
    fn a_new_key_is_its_owners_alone_and_only_its_public_half_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, kind) in [("s", Kind::Signing), ("o", Kind::Opening), ("r", Kind::Root)] {
            let path = folder.path().join(name);
            let told = create(kind, &path).expect("made");
            let mode = std::fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let secret = key_file::read("k", &path).expect("a key");
            assert!(!told.contains(&hex::encode(*secret)), "{told}");
            let (public, id) = match kind {
                Kind::Signing | Kind::Root => {
                    let key = SigningKey::from_seed(&secret);
                    (key.public().to_wire().raw, key.id())
                }
                Kind::Opening => {
                    let key = OpeningKey::from_raw(&secret).expect("a key");
                    (key.public().to_wire().raw, key.id())
                }
            };
            assert_eq!(told, format!("public  {}\nkey id  {id}", hex::encode(public)));
            let again = create(kind, &path).expect_err("never overwritten");
            assert_eq!(again.exit(), Exit::CannotCreate);
            assert_eq!(*key_file::read("k", &path).expect("a key"), *secret);
        }
    }
}
