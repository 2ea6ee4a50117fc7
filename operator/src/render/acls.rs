//! Access lists as commands.

use schemas::acls::{Binding, Resource, bindings};

use crate::config::Estate;

/// One command per access list. Every value is made of characters that a shell takes as they are, but for what the
/// caller passes in, which is quoted.
pub(super) fn commands(estate: &Estate, brokers: &str, command_config: &str) -> String {
    let start = format!(
        "kafka-acls --bootstrap-server {} --command-config {} --add",
        quoted(brokers),
        quoted(command_config)
    );
    bindings(&estate.topics, &estate.upstreams, &estate.banks)
        .into_iter()
        .map(|Binding { user, resource, name, operation }| {
            let resource = match resource {
                Resource::Topic => "--topic",
                Resource::Group => "--group",
            };
            format!(
                "{start} --allow-principal User:{user} --operation {operation} {resource} {name} \
                 --resource-pattern-type literal\n"
            )
        })
        .collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_estate;

    #[test]
    fn there_is_one_command_per_access_list() {
        let estate = sample_estate();
        let printed = commands(&estate, "kafka-1:9093,kafka-2:9093", "o'hara.properties");

        let all = bindings(&estate.topics, &estate.upstreams, &estate.banks);
        assert_eq!(printed.lines().count(), all.len());
        let expected = r"kafka-acls --bootstrap-server 'kafka-1:9093,kafka-2:9093' --command-config 'o'\''hara.properties' --add --allow-principal User:bank-beta --operation Write --topic cardquery.reply.beta.v1 --resource-pattern-type literal";
        assert_eq!(printed.lines().filter(|line| *line == expected).count(), 1, "{printed}");
        let group = "--allow-principal User:notifier --operation Read --group cardquery.notifier ";
        assert_eq!(printed.lines().filter(|line| line.contains(group)).count(), 1, "{printed}");
    }
}
