#!/usr/bin/env perl

# Debian 13 with its NGINX 1.26, in a directory: the module is built there and
# part of the suite is run. If this fails, who has upgraded Debian can't build the
# module, or it does not work with that NGINX.
#
# It fetches some 150 MB, so it is run where TEST_DEBIAN13 is set, by root
# and with debootstrap, and skipped where Debian's archive can't be reached.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use File::Temp qw( tempdir );
use Test::More;

plan skip_all => 'TEST_DEBIAN13 is not set'
    if !$ENV{TEST_DEBIAN13};
plan skip_all => 'the module is linked into this NGINX'
    if exists $ENV{TEST_NGINX_MODULE} && !length $ENV{TEST_NGINX_MODULE};
plan skip_all => 'root is needed' if $>;
plan skip_all => 'no debootstrap here'
    if system 'which debootstrap > /dev/null 2>&1';
plan skip_all => 'no namespaces here'
    if system 'unshare -m -p -f true > /dev/null 2>&1';

my $root = abs_path(dirname(__FILE__) . '/..');
my $dir  = tempdir(CLEANUP => 1);

my @tests = qw( t/native.t t/presence_mode.t t/sse.t t/sse_http2.t t/poll.t
                t/reload.t t/tls.t t/deflate.t t/broadcast.t );


sub file {
    my ($path, $text) = @_;

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f;
    chmod 0755, $path;
}


my $said = `debootstrap --variant=minbase trixie $dir/d 2>&1`;

plan skip_all => "no Debian 13 can be had: $said" if $?;

file("$dir/d/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");

file("$dir/d/build-deps", <<'END');
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install gcc libc6-dev make nginx \
    nginx-dev libyajl-dev libpcre2-dev libssl-dev zlib1g-dev curl perl \
    libio-socket-ssl-perl openssl
END

file("$dir/d/build-run", <<"END");
set -e
cd /fanout
make -s NODEPS=1 all
nginx -V 2>&1 | head -n 1
TEST_NGINX_BINARY=/usr/sbin/nginx \\
TEST_NGINX_MODULE=/fanout/build/ngx_http_fanout_module.so \\
    prove -It/lib @tests
END

file("$dir/script", <<'END');
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
exec chroot "$1" sh "$2"
END

sub inside {
    my ($script) = @_;

    delete local @ENV{ grep { /^(?:TEST_|MAKE|MFLAGS|MODULE_|NGINX|PERL5)/ }
                       keys %ENV };

    return `unshare -m -p -f --kill-child sh $dir/script $dir/d /$script 2>&1`;
}

$said = inside('build-deps');

plan skip_all => "no packages can be had: $said" if $?;

mkdir "$dir/d/fanout";
system("cd $root && tar c --exclude=./build --exclude=./.git . "
       . "| tar x -C $dir/d/fanout") == 0 or die "no copy of the source\n";

$said = inside('build-run');

is($?, 0, 'it is built, and works') or diag($said);
like($said, qr{nginx/1\.26\.}, 'with NGINX 1.26');
like($said, qr/^All tests successful/m, scalar(@tests) . ' files pass');

done_testing();
