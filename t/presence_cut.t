#!/usr/bin/env perl

# Very many members, of a thousand clients, are cut at once. If this fails, most
# of them are shown for long after their linger is over.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP;
use Time::HiRes qw( sleep );

use Fanout::Nginx;

my $clients  = $ENV{TEST_SANITIZE} ? 300 : 1000;
my $channels = 50;
my $members  = $clients * $channels;

my $nginx = Fanout::Nginx->start(
    workers => 1,
    level   => 'warn',
    main    => 'worker_rlimit_nofile 8000;',
    events  => 'worker_connections 4000;',
    http    => 'fanout_zone app 128m; fanout_rate off; fanout_budget off;
                fanout_channel app * presence=on linger=1s;',
    server  => 'listen 127.0.0.1:%%PORT%% backlog=4096;
                location /rt { fanout app; fanout_permit all *; }
                location = /status { fanout_status app; }'
);

my $http = $nginx->http;

sub zone { $http->get('/status')->json->{zone} }

# waits for what is so in the end: it takes seconds, on a slow machine; 16 seats
# for each of 64 sweeps a second, as it was once, would take 50 s

sub until_zone {
    my ($what, $for, $so) = @_;

    my ($zone, $end) = (zone(), time + $for);

    while (!$so->($zone) && time < $end) {
        sleep 0.1;
        $zone = zone();
    }

    ok($so->($zone), $what)
        or diag("members $zone->{members}, seats $zone->{seats}, "
                . "lingering $zone->{seats_lingering}");
}

sub client {
    my ($n) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => $nginx->port)
        or die "client $n: $!\n";

    my $joins = encode_json([
        map { { op => 'join', channel => "$n:$_", presence => {} } }
            1 .. $channels
    ]);

    print $s join("\r\n", 'GET /rt HTTP/1.1', 'Host: localhost',
                  'Upgrade: websocket', 'Connection: Upgrade',
                  'Sec-WebSocket-Version: 13',
                  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''),
        "\x81\xfe", pack('nN', length $joins, 0), $joins;
    $s->flush;

    return $s;
}

my @clients = map { client($_) } 1 .. $clients;

until_zone("$members members", 300, sub { $_[0]{members} == $members });

setsockopt $_, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 for @clients;
close $_ for @clients;

until_zone('all have left', 30, sub {
    $_[0]{members} == 0 && $_[0]{seats_lingering} == 0
});

$nginx->stop;

done_testing();
