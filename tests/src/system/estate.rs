//! Takes away what a system had on the stack, which other tests go on using.

use std::time::Duration;

use cardquery::config::Config;
use cardquery::local::Local;
use cardquery::topics::wanted::Wanted;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

const WITHIN: Duration = Duration::from_secs(30);

/// Deletes topics, access lists, databases and roles. Users stay: other systems have the same.
pub(super) async fn remove(local: &Local) {
    let (config, estate) = Config::load_with_estate(Some(&local.plan.folder)).expect("its own settings");
    let wanted = Wanted::new(&estate);
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.kafka.brokers);
    client.extend(local.stack.client("admin").expect("the administrator's password"));
    let admin: AdminClient<DefaultClientContext> = client.create().expect("these settings are valid");
    let names: Vec<&str> = wanted.topics.keys().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(WITHIN));
    admin.delete_topics(&names, &options).await.expect("topics can be deleted");
    let acls: Vec<_> = wanted.acls.into_iter().collect();
    kafka_native::delete_acls(admin.inner(), &acls, WITHIN).expect("access lists can be deleted");
    local.remove_databases().await.unwrap_or_else(|failure| panic!("{failure}"));
}
