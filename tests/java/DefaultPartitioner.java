import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Where the Java client's default partitioner puts keys.
 *
 * <p>{@code java -cp 'libs/*' DefaultPartitioner.java BOOTSTRAP TOPIC} reads keys from stdin, one per line in
 * UTF-8, produces one record for each, and prints {@code key partition} once all are acknowledged.
 */
public final class DefaultPartitioner {
    public static void main(String[] args) throws Exception {
        if (args.length != 2) {
            System.err.println("usage: DefaultPartitioner BOOTSTRAP TOPIC < keys");
            System.exit(2);
        }
        List<String> keys =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList();

        // Nothing but what a client cannot do without, so that everything else is the default.
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("key.serializer", StringSerializer.class.getName());
        properties.put("value.serializer", StringSerializer.class.getName());

        List<Future<RecordMetadata>> acknowledgements = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (String key : keys) {
                acknowledgements.add(producer.send(new ProducerRecord<>(args[1], key, "")));
            }
            producer.flush();
        }

        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (int i = 0; i < keys.size(); i++) {
            out.println(keys.get(i) + " " + acknowledgements.get(i).get().partition());
        }
        out.flush();
        if (out.checkError()) {
            System.exit(1);
        }
    }
}
