/*
 * test/integration/src/JavaPartitions.java
 *	  Which partition Kafka's own Java producer gives to a key: keys on stdin, one a line; prints the numbers.
 *
 *	  java -cp 'JARS/*' JavaPartitions.java PARTITIONS <keys
 */
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

public class JavaPartitions {
	public static void main(String[] args) throws Exception {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		int partitions = Integer.parseInt(args[0]);
		StringBuilder out = new StringBuilder();

		for (String key; (key = in.readLine()) != null;)
			out.append(BuiltInPartitioner.partitionForKey(key.getBytes(StandardCharsets.UTF_8), partitions)).append('\n');
		System.out.print(out);
	}
}
