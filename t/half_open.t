#!/usr/bin/env perl

# Ten thousand clients that never finish: half a request, a handshake behind
# which no token comes, a command that comes byte by byte. If this fails, they
# stop or slow down those who come after them, or hold their places for ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Socket qw( SOL_SOCKET SO_LINGER );
use Time::HiRes qw( sleep );

use Fanout::JWT;
use Fanout::Nginx;


use constant { EACH => 100, WAIT => 45 };

# the shell raises what perl can't

if (!$ENV{HALF_OPEN_RAISED} && `sh -c "ulimit -n"` ne `sh -c "ulimit -Hn"`) {
    $ENV{HALF_OPEN_RAISED} = 1;
    exec 'sh', '-c', 'ulimit -n "$(ulimit -Hn)" && exec "$@"', 'sh', $^X, $0;
}

chomp(my $files = `sh -c "ulimit -n"`);

my $all = $files =~ /^\d+$/ && $files < 10_600 ? $files - 600 : 10_000;

plan(skip_all => "only $files files may be open") if $all < 1000;

my $secret = 'a secret that only the backend knows';

my $nginx = Fanout::Nginx->start(
    workers => 2,
    main    => "worker_rlimit_nofile $files;",
    events  => 'worker_connections 14000;',
    allow   => [ qr/setrlimit\(RLIMIT_NOFILE, \d+\) failed/ ],
    http    => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=10;
        fanout_resume 0;
        client_header_timeout 300s;
        fanout_ping 10m;      # they do not answer, and a slow machine takes minutes
END
    server => <<"END",
        fanout_jwt 'secret=$secret' from=command from=header wait=@{[WAIT]}s;
        fanout_sessions_per_address @{[EACH]};
        location = /status { fanout_status app; }
        location /rt {
            fanout app;
            fanout_user   \$fanout_claim_sub;
            fanout_permit all *;
        }
END
);


my $upgrade = "GET /rt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            . "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            . 'Sec-WebSocket-Key: ' . 'A' x 22 . "==\r\n";

# a masked frame of a publish, the end of which never comes

my $command = '{"op":"publish","channel":"a","data":"' . 'x' x 500 . '"}';
my $frame   = pack('CCnN', 0x81, 0x80 | 126, length $command, 0) . $command;

my %kind = (
    request => { text => substr($upgrade, 0, 60) },
    silent  => { text => "$upgrade\r\n" },
    slow    => { more => [ split //, substr $frame, 20 ] },
);

$kind{request}{more} = [ split //, substr $upgrade, 60, 100 ];


sub token {
    my ($user) = @_;

    return Fanout::JWT::sign('HS256', $secret, { sub => $user });
}


# from addresses of their own, EACH from one

my ($address, $from_it) = (0, 0);

sub stranger {
    my ($kind) = @_;

    $address++ if $from_it++ % EACH == 0;

    my $s = IO::Socket::INET->new(
        LocalAddr => sprintf('127.1.%d.%d', $address >> 8, $address & 255),
        PeerAddr  => '127.0.0.1', PeerPort => $nginx->port)
        or die "connect: $! ($@)";

    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
    syswrite $s, $kind->{text} // "${upgrade}Authorization: Bearer "
                                  . token("user $address") . "\r\n\r\n"
                                  . substr $frame, 0, 20;

    return $s;
}


sub trickle {
    for my $kind (values %kind) {
        my $byte = shift @{ $kind->{more} || [] };

        next if !defined $byte;

        syswrite $_, $byte for @{ $kind->{open} };
    }
}


sub rss {
    my $sum = 0;
    $sum += $nginx->rss($_) for $nginx->worker_pids;

    return $sum;
}


# what the server has closed

sub closed {
    my ($kind) = @_;

    my $n = 0;

    for my $s (@{ $kind->{open} }) {
        $s->blocking(0);

        my $got;
        1 while $got = sysread $s, my $some, 4096;

        $n++ if defined $got || !$!{EAGAIN};
    }

    return $n;
}


my $before = rss();
my @names  = sort keys %kind;

for my $n (0 .. $all - 1) {
    my $kind = $kind{ $names[$n % 3] };

    push @{ $kind->{open} }, stranger($kind);
}

my $each = (rss() - $before) / $all;

# a sanitizer keeps what was freed, and more around it

cmp_ok($each, '<', $ENV{TEST_SANITIZE} ? 65_536 : 16_384,
       "$all that never finish have @{[int $each]} bytes each");

for my $n (1 .. 5) {
    trickle();

    my $ws = $nginx->native(path => '/rt',
                            headers => { Authorization => 'Bearer ' . token('ann') });

    $ws->ok('join', channel => "new$n");
    $ws->ok('publish', channel => "new$n", data => $n);
    is($ws->next_push->{data} // '', $n, 'a new client is served');

    sleep 1;
}

is(closed($kind{slow}), 0, 'who writes slowly is still there');
cmp_ok($nginx->ws(path => '/rt')->status, '==', 101,
       'one more without a token is let in');
wait_for(sub { closed($kind{silent}) == @{ $kind{silent}{open} } },
         WAIT + 60);
is(closed($kind{silent}), scalar @{ $kind{silent}{open} },
   'those without a token have no place after their time');
