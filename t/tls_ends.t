#!/usr/bin/env perl

# How TLS connections end: if this fails, any client can write [crit] and
# [alert] lines into the error log, as what is left of its connection is sent,
# or closed, in the middle of a record. That there are none is checked at the
# end of the test.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::HookBackend;
use Fanout::Nginx;


my $backend = Fanout::HookBackend->start;
my $port    = $backend->port;

my $nginx = Fanout::Nginx->start(
    tls  => 1,
    stop => 'quit',
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=10;
        fanout_drain 100ms;
END
    server => <<"END",
        location /silent  { fanout app; fanout_permit all *;
                            fanout_ping 300ms; fanout_timeout 300ms; }
        location /blocked { fanout app; fanout_permit all *;
                            fanout_ping 10m; }
        location /hooked  { fanout app; fanout_permit all *; }
        fanout_hook app /hook publish batch=1;
        location /hook    { internal; proxy_pass http://127.0.0.1:$port; }
        location /fanout/ { fanout_api app; }
        location /status  { fanout_status app; }
END
);

my $http = $nginx->http;


sub sessions {
    my $n = 0;

    $n += $_->{sessions} for @{ $http->get('/status')->json->{workers} };
    return $n;
}


sub publish {
    my ($channel) = @_;

    $http->post("/fanout/channels/$channel/messages",
                '"' . 'x' x 60_000 . '"') for 1 .. 60;
}


subtest 'cut for silence with a write pending' => sub {
    my $ws = $nginx->native(path => '/silent', tls => 1, rcvbuf => 4096);

    $ws->ok('join', channel => 'silent');
    publish('silent');
    ok(wait_for(sub { !sessions() }, 30), 'is over');

    # what was sent in part is all that comes
    1 while $ws->fill(20);
    ok($ws->eof, 'the client reads up to the end');
};


subtest 'a worker that exits with a write pending' => sub {
    my @ws = map {
        my $ws = $nginx->native(path => '/blocked', tls => 1, rcvbuf => 4096);
        $ws->ok('join', channel => 'blocked');
        $ws;
    } 1 .. 4;

    publish('blocked');
    $nginx->reload;
    ok(wait_for(sub { !$nginx->stopping_pids }, 30), 'goes');
};


subtest 'replies to a client that has left' => sub {
    my $ws = $nginx->native(path => '/hooked', tls => 1);
    my $id = 90;

    $backend->does(wait => 'go', random => 0.05, answer => 1);

    # each reply is shorter than the one before

    $ws->send_text('{"id":"' . 'z' x ($id - 10 * $_)
                   . '","op":"publish","channel":"x","data":' . $_ . '}')
        for 0 .. 7;

    $backend->wait_calls(1);
    $ws->sock->close(SSL_no_shutdown => 1);
    $backend->let('go');

    ok($backend->wait_calls(8), 'what it had sent is done');
    ok(wait_for(sub { !sessions() }, 30), 'are given up');
};


done_testing();
