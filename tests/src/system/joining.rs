//! A bank that joins a running system: topics and users, a connector, then the registry entry.

use std::path::Path;

use cardquery::local::service::Service;
use schemas::ids::BankId;
use schemas::keys::{OpeningKey, SigningKey};
use toml::{Table, Value};

use super::System;
use super::registry::text;
use crate::ports;

const TEXTS: &str = r#"
phone = "00115"
name = { "zh-CN" = "青岚样例银行", en = "Qinglan Sample Bank" }
closing = { "zh-CN" = "请到网点办理。", en = "Visit a branch." }
[products]
"#;

impl System {
    /// Lets a bank join that the sample does not have, and answer out of the database of the bank `core`; returns when
    /// the registry has it.
    ///
    /// # Panics
    /// If a step does not succeed.
    pub async fn join(&mut self, bank: &BankId, core: &str) {
        let (seed, opening): ([u8; 32], _) = (rand::random(), OpeningKey::generate());
        let signing = SigningKey::from_seed(&seed);
        let folder = self.local.plan.folder.clone();
        edit(&folder.join("operator.toml"), |settings| {
            let banks = settings["parties"]["banks"].as_array_mut().expect("a list of banks");
            banks.push(bank.to_string().into());
        });
        self.operator(&["topics", "apply", "--config", text(&folder), "--execute"]).await;

        let name = format!("bank-{bank}");
        let [port] = ports::free().expect("the operating system has free ports");
        let like = self.service(&format!("bank-{core}")).clone();
        let service = Service {
            settings: folder.join(format!("{name}.toml")),
            admin: ([127, 0, 0, 1], port).into(),
            name: name.clone(),
            ..like.clone()
        };
        std::fs::copy(&like.settings, &service.settings).expect("the settings can be copied");
        let signing_file = self.write(&format!("{name}.signing.key"), &hex::encode(seed));
        let opening_file =
            self.write(&format!("{name}.opening.key"), &hex::encode(opening.to_raw().as_ref()));
        let password = self.local.stack.password_file(&name);
        edit(&service.settings, |settings| {
            let mut set = |path: &[&str], value: Value| {
                let (last, tables) = path.split_last().expect("a key");
                let table = tables
                    .iter()
                    .fold(&mut *settings, |table, key| table[*key].as_table_mut().expect("a table"));
                table.insert((*last).to_owned(), value);
            };
            set(&["bank"], bank.to_string().into());
            set(&["signing_key_file"], text(&signing_file).into());
            set(&["opening_key_files"], Value::Array(vec![text(&opening_file).into()]));
            set(&["admin", "listen"], service.admin.to_string().into());
            set(&["kafka", "client_id"], self.local.topics().connector_group(bank).into());
            set(&["kafka", "properties", "sasl.username"], name.clone().into());
            set(&["kafka", "property_files", "sasl.password"], text(&password).into());
            set(&["registry", "seen_file"], text(&folder.join(format!("{name}-seen.json"))).into());
        });
        self.local.services.push(service);
        self.spawn(&name);

        let texts = self.write("texts.toml", TEXTS);
        let (sign, seal) =
            (hex::encode(signing.public().to_wire().raw), hex::encode(opening.public().to_wire().raw));
        let draft = self.fresh("joining.toml");
        let party = format!("bank/{bank}");
        let join = ["registry", "draft", "join", &party, "--region", "310000", "--texts", text(&texts)];
        let keys = ["--sign", &sign, "--seal", &seal, "--out", text(&draft)];
        self.operator(&[&join[..], &keys].concat()).await;
        self.publish(&draft, None).await;
        self.ready(&name).await;
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Table)) {
    let text = std::fs::read_to_string(path).expect("the settings are there");
    let mut settings: Table = text.parse().expect("the settings are TOML");
    change(&mut settings);
    std::fs::write(path, settings.to_string()).expect("the system's folder is writable");
}
