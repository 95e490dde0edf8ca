#!/usr/bin/env perl

# The Debian package: if this fails, it does not install beside the nginx it was
# built for, NGINX does not start after it was installed or removed, an
# administrator's choice to disable the module is undone, or files are left
# behind.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use File::Temp qw( tempdir );
use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx ();

my $root   = abs_path(dirname(__FILE__) . '/..');
my $module = Fanout::Nginx::module({});
my $binary = Fanout::Nginx::binary();

plan skip_all => 'the module is linked into this NGINX' if !length $module;
plan skip_all => 'no dpkg-deb here' if system 'which dpkg-deb > /dev/null 2>&1';
plan skip_all => "$binary is not Debian's"
    if `dpkg -S $binary 2> /dev/null` !~ /^nginx/;

my $dir = tempdir(CLEANUP => 1);


sub build {
    my ($to, %env) = @_;

    local %ENV = (%ENV, NGINX_BINARY => $binary, %env);

    my $said = `$root/t/tools/deb $module $dir/$to 2>&1`;

    return (glob "$dir/$to/*.deb")[0] if !$?;

    diag($said);
    return '';
}


my $deb = build('one', SOURCE_DATE_EPOCH => 1700000000);

ok($deb, 'the package is built') or do { done_testing(); exit };

my $again = build('two', SOURCE_DATE_EPOCH => 1700000000);

ok($again && system('cmp', '-s', $deb, $again) == 0,
   'twice the same, byte for byte');

my ($version) = `sed -n 's/^#define FANOUT_VERSION *//p' \\
                 $root/src/base/version.h` =~ /"(.*)"/;
my %field = map { /^(\S+): (.*)/ ? ($1, $2) : () } `dpkg-deb -f $deb`;

is($field{Package}, 'libnginx-mod-http-fanout', 'its name');
is(scalar(grep { /@\w+@/ } values %field), 0, 'nothing is left open');
is($field{Version}, "$version-1", 'the version of the module');
like($field{Depends}, qr/\bnginx-abi-\S+.*\blibyajl2\b/,
     'needs the nginx that it was built for');
like($field{Depends}, qr/\blibssl\d/, 'and the library of OpenSSL');

my %file = map { (split ' ', $_, 6)[5] =~ /^\.(\S*[^\s\/])$/ ? ($1, $_) : () }
           `dpkg-deb -c $deb`;

ok($file{$_}, $_) for qw(
    /usr/lib/nginx/modules/ngx_http_fanout_module.so
    /usr/share/nginx/modules-available/mod-http-fanout.conf
    /usr/share/nginx-fanout/client/fanout.js
    /usr/share/nginx-fanout/client/transports/websocket.js
    /usr/share/nginx-fanout/client/bin/fanout.js
    /usr/share/doc/libnginx-mod-http-fanout/copyright
    /usr/share/doc/libnginx-mod-http-fanout/changelog.Debian.gz
    /usr/share/doc/libnginx-mod-http-fanout/README.md
    /usr/share/doc/libnginx-mod-http-fanout/docs/operations.md
    /usr/share/doc/libnginx-mod-http-fanout/conf/quickstart.conf
    /usr/share/doc/libnginx-mod-http-fanout/conf/monitoring/alerts.yml
);

is(scalar(grep { !m{ root/root } } values %file), 0, 'all is root\'s');
is(scalar(grep { !m{ 2023-11-14 } } values %file), 0, 'of the time given');

system 'dpkg-deb', '-R', $deb, "$dir/out";

ok(-x "$dir/out/usr/bin/fanout", 'the command can be run');

# what its pages link to, it has

my $doc = "$dir/out/usr/share/doc/libnginx-mod-http-fanout";

ok(-e "$doc/examples/quickstart.conf", 'examples are there by that name');

for my $page ('README.md', map { s{.*/}{docs/}r } glob "$doc/docs/*.md") {
    my $text = Fanout::Nginx::slurp("$doc/$page");
    my $from = $page =~ m{^(.*/)} ? $1 : '';

    is_deeply([ grep { !-e "$doc/$from$_" }
                grep { !/^(?:https?:|#)/ } map { s/#.*//r }
                $text =~ /\]\(([^)\s]+)\)/g ], [], "links of $page");
}

is(system("cd $dir/out && md5sum --quiet -c DEBIAN/md5sums"), 0, 'sums fit');
is(system('sh', '-n', "$dir/out/DEBIAN/$_"), 0, "$_ is sound")
    for qw( postinst prerm postrm );

SKIP: {
    skip 'no lintian here', 1 if system 'which lintian > /dev/null 2>&1';

    my @said = grep { /^E:/ } `lintian --allow-root --fail-on none $deb 2>&1`;

    is("@said", '', 'lintian has no error to tell');
}


# In a copy of this system that goes away with the process: an overlay, in a
# namespace of mounts and processes of its own.

my $script = <<'END';
set -e
mount -t tmpfs tmpfs $DIR/over
mkdir $DIR/over/u $DIR/over/w $DIR/over/m
mount -t overlay overlay \
    -o lowerdir=/,upperdir=$DIR/over/u,workdir=$DIR/over/w $DIR/over/m
mount -t proc proc $DIR/over/m/proc
mkdir -p $DIR/over/m/dev && mount --rbind /dev $DIR/over/m/dev
cp $DEB $DIR/over/m/root/fanout.deb
cp $DIR/inside $DIR/over/m/root/inside
exec chroot $DIR/over/m sh /root/inside
END

my $inside = <<'END';
exec 2>&1
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
link=/etc/nginx/modules-enabled/50-mod-http-fanout.conf

say() { echo "== $1: $2"; }

try() {
    name=$1
    shift
    if "$@" > /tmp/said 2>&1 < /dev/null; then say "$name" yes
    else say "$name" no; cat /tmp/said; fi
}

# without the module: only where somebody has it, it has to go first
dpkg -P libnginx-mod-http-fanout > /dev/null 2>&1
rm -f /usr/lib/nginx/modules/ngx_http_fanout_module.so /usr/sbin/policy-rc.d
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
rm -f /etc/nginx/sites-enabled/*

list() { find /etc /usr/lib/nginx /usr/share/nginx /usr/share/doc \
              /var/lib/dpkg/info \! -name format \! -name triggers | sort; }
list > /tmp/before

try "starts without it" nginx -t
try "installs" dpkg -i /root/fanout.deb
say "is enabled" "$(readlink $link)"

cat > /etc/nginx/conf.d/fanout.conf << 'CONF'
fanout_zone app 8m;
fanout_channel app * history=10;
server {
    listen 127.0.0.1:@PORT@;
    location /fanout/ { fanout_api app; allow 127.0.0.1; deny all; }
}
CONF

try "is taken" nginx -t
try "starts" nginx
try "serves" curl -sSf -d '"hello"' \
    http://127.0.0.1:@PORT@/fanout/channels/a/messages
say "and keeps" "$(curl -sS http://127.0.0.1:@PORT@/fanout/channels/a/messages)"
try "reloads" nginx -s reload
try "stops" nginx -s stop

try "installs again" dpkg -i /root/fanout.deb
say "stays enabled" "$(readlink $link)"
rm $link
try "installs over a choice" dpkg -i /root/fanout.deb
say "which stays" "$(readlink $link || echo disabled)"
ln -s /usr/share/nginx/modules-available/mod-http-fanout.conf $link

rm /etc/nginx/conf.d/fanout.conf
try "is removed" dpkg -r libnginx-mod-http-fanout
say "is disabled" "$(readlink $link || echo disabled)"
try "starts after that" nginx -t
try "comes back" dpkg -i /root/fanout.deb
say "enabled as before" "$(readlink $link)"
try "is taken again" nginx -t
try "is purged" dpkg -P libnginx-mod-http-fanout
try "starts in the end" nginx -t
list > /tmp/after
say "leaves" "$(diff /tmp/before /tmp/after | tr '\n' ' ')"
echo "== end: end"
END

SKIP: {
    my $able = !$> && !system "unshare -m -p -f true > /dev/null 2>&1";

    skip 'a namespace and an overlay need root', 1 if !$able;

    my $port = Fanout::Nginx::free_port();

    $inside =~ s/\@PORT\@/$port/g;
    mkdir "$dir/over";

    for ([ inside => $inside ], [ script => $script ]) {
        open my $f, '>', "$dir/$_->[0]" or die $!;
        print $f $_->[1];
        close $f;
    }

    local %ENV = (%ENV, DIR => $dir, DEB => $deb);
    delete $ENV{NGINX};

    my $said = `unshare -m -p -f --kill-child sh $dir/script 2>&1`;

    skip "no overlay here: $said", 1 if $said =~ /^mount: /m
                                        && $said !~ /^== /m;

    my %said = map { /^== (.*?): ?(.*)/ ? ($1, $2) : () } split /\n/, $said;
    my $conf = '/usr/share/nginx/modules-available/mod-http-fanout.conf';

    my @want = (
        (map { [ $_ => 'yes' ] } 'starts without it', 'installs'),
        [ 'is enabled' => $conf ],
        (map { [ $_ => 'yes' ] } 'is taken', 'starts', 'serves'),
        [ 'and keeps' => qr/"data":"hello"/ ],
        (map { [ $_ => 'yes' ] } 'reloads', 'stops', 'installs again'),
        [ 'stays enabled' => $conf ],
        [ 'installs over a choice' => 'yes' ],
        [ 'which stays' => 'disabled' ],
        [ 'is removed' => 'yes' ], [ 'is disabled' => 'disabled' ],
        [ 'starts after that' => 'yes' ], [ 'comes back' => 'yes' ],
        [ 'enabled as before' => $conf ],
        (map { [ $_ => 'yes' ] } 'is taken again', 'is purged',
                                 'starts in the end'),
        [ leaves => '' ], [ end => 'end' ],
    );

    for (@want) {
        my ($what, $want) = @$_;

        ref $want ? like($said{$what} // '', $want, $what)
                  : is($said{$what}, $want, $what);
    }

    diag($said) if !Test::More->builder->is_passing;
}

done_testing();
