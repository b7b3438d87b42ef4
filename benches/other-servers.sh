#!/usr/bin/env bash
# Plays the harness's scenarios over other people's servers: moto and ElasticMQ as the queue, versitygw and s3proxy as the store.
#
#   benches/other-servers.sh [ROUNDS] [SEED]
#
# It needs Python 3, Go, Java 17 and Maven. It installs pinned versions below target/other-servers, starts them on loopback, plays the
# rounds over each pair, and ends what it has started. Copies and old receipts, which are faults of the local endpoint, are left out. moto
# itself hands some messages out twice when several poll it: a copy that reaches another worker is not promised to be recognised.
set -euo pipefail

MOTO=5.2.2 ELASTICMQ=1.7.1 VERSITYGW=v1.8.0 S3PROXY=4.1.0
MOTO_PORT=47101 ELASTICMQ_PORT=47102 VERSITYGW_PORT=47103 S3PROXY_PORT=47104
rounds=${1:-16} seed=${2:-1}

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
benches=${BENCHES:-$target/release/benches}
there=$(mkdir -p "$target/other-servers" && cd "$target/other-servers" && pwd)
work=$(mktemp -d)
started=()

stop() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap stop EXIT

# jars FOLDER GROUP:ARTIFACT:VERSION...: a program of Maven Central and all that it needs, where a version that is named goes first.
jars() {
    local folder=$there/$1 dependency group artifact version
    [ -e "$folder/done" ] && return
    mkdir -p "$folder"
    shift
    cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>other</groupId><artifactId>servers</artifactId><version>1</version>
  <dependencies>$(for dependency in "$@"; do
    IFS=: read -r group artifact version <<<"$dependency"
    echo "<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
done)</dependencies>
</project>
POM
    (cd "$folder" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=jars)
    touch "$folder/done"
}

install() {
    if [ ! -x "$there/moto-$MOTO/bin/moto_server" ]; then
        python3 -m venv "$there/moto-$MOTO"
        "$there/moto-$MOTO/bin/pip" install -q "moto[server]==$MOTO"
    fi
    if [ ! -x "$there/versitygw-$VERSITYGW/versitygw" ]; then
        GOBIN=$there/versitygw-$VERSITYGW go install "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW"
    fi
    jars "elasticmq-$ELASTICMQ" "org.elasticmq:elasticmq-server_2.13:$ELASTICMQ"
    # Its Jackson 3 needs newer annotations than those that Maven takes by itself.
    jars "s3proxy-$S3PROXY" "org.gaul:s3proxy:$S3PROXY" com.fasterxml.jackson.core:jackson-annotations:2.21
}

# start NAME PORT COMMAND...: in the background, until it listens.
start() {
    local name=$1 port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 &
    started+=($!)
    for _ in $(seq 300); do
        (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.2
    done
    cat "$work/$name.log" >&2
    echo "$name does not listen on port $port" >&2
    exit 1
}

start_all() {
    mkdir -p "$work/versitygw" "$work/s3proxy"
    cat >"$work/elasticmq.conf" <<CONF
include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = $ELASTICMQ_PORT, context-path = "" }
rest-sqs { enabled = true, bind-hostname = "127.0.0.1", bind-port = $ELASTICMQ_PORT, sqs-limits = strict }
rest-stats { enabled = false }
CONF
    cat >"$work/s3proxy.conf" <<CONF
s3proxy.endpoint=http://127.0.0.1:$S3PROXY_PORT
s3proxy.authorization=none
jclouds.provider=filesystem
jclouds.filesystem.basedir=$work/s3proxy
CONF
    echo '<configuration><root level="WARN"/></configuration>' >"$work/logback.xml"
    start moto "$MOTO_PORT" "$there/moto-$MOTO/bin/moto_server" -H 127.0.0.1 -p "$MOTO_PORT"
    start elasticmq "$ELASTICMQ_PORT" java -Dconfig.file="$work/elasticmq.conf" \
        -Dlogback.configurationFile="$work/logback.xml" -cp "$there/elasticmq-$ELASTICMQ/jars/*" org.elasticmq.server.Main
    start versitygw "$VERSITYGW_PORT" env ROOT_ACCESS_KEY=local ROOT_SECRET_KEY=local \
        "$there/versitygw-$VERSITYGW/versitygw" --port "127.0.0.1:$VERSITYGW_PORT" posix "$work/versitygw"
    start s3proxy "$S3PROXY_PORT" java -Dlogback.configurationFile="$work/logback.xml" \
        -cp "$there/s3proxy-$S3PROXY/jars/*" org.gaul.s3proxy.Main --properties "$work/s3proxy.conf"
}

install
start_all
failed=0
for pair in "moto $MOTO_PORT versitygw $VERSITYGW_PORT" "elasticmq $ELASTICMQ_PORT s3proxy $S3PROXY_PORT"; do
    read -r queue queue_port store store_port <<<"$pair"
    echo "== $queue and $store"
    "$benches" harass --rounds "$rounds" --seed "$seed" --no-shrink ${ENGINE:+--engine "$ENGINE"} \
        --queue-endpoint "http://127.0.0.1:$queue_port" --store-endpoint "http://127.0.0.1:$store_port" || failed=1
done
exit "$failed"
