#!/usr/bin/env perl

# Workers that shut down, and who is still with them. If this fails, a browser's
# spare socket gets an error from which an EventSource never comes back, members
# flap because they do as they are told, new workers find no slot while old ones
# serve a download, or a slow backend holds a worker past
# worker_shutdown_timeout.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $http = 'fanout_zone app 16m slots=4;
            fanout_channel app p:* presence=on linger=1s;
            fanout_channel app *   history=10;';

sub server {
    my ($more) = @_;

    return "location /rt { fanout app; fanout_permit all *;
                           fanout_drain 100ms; fanout_retry 1234ms; }
            location /raw { fanout app; fanout_dialect raw;
                            fanout_permit all *; }
            location /fanout { fanout_api app; }
            location /hold { proxy_pass http://127.0.0.1:%%PORT1%%;
                             proxy_buffering off; proxy_read_timeout 10m; }
            location = /status { fanout_status app; } " . ($more // '');
}

my $nginx = Fanout::Nginx->start(
    http    => $http,
    workers => 1,
    server  => server(),
    allow   => [ qr/open socket #\d+ left/ ],
);

my $backend = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100,
    LocalPort => $nginx->port('PORT1'), ReuseAddr => 1) or die "listen: $!";


sub spare {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $nginx->port) or die "connect: $!";

    # whose answer has come was accepted later
    $nginx->http->get('/status');

    return $s;
}

sub talk {
    my ($s, $request, $until) = @_;

    my $got = '';
    my $end = time + 20 * $Fanout::Socket::SCALE;

    $request =~ s/\n/\r\n/g;
    print {$s} $request;
    $s->flush;

    while (time < $end && !($until && $got =~ $until)) {
        IO::Select->new($s)->can_read(0.2) or next;
        sysread $s, $got, 65536, length $got or last;
    }

    return $got;
}

sub hold {
    my $s = spare();

    print {$s} "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    $s->flush;
    my $c = $backend->accept;
    sysread $c, my $buf, 65536;
    print {$c} "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc";
    $c->flush;

    return ($s, $c);
}

sub status { $nginx->http->get('/status')->json }

my $upgrade = "Host: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
              . "Sec-WebSocket-Version: 13\n"
              . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n";


for my $slot (0, 1) {
    subtest 'a socket from before, ' . ($slot ? 'with' : 'without')
            . ' a free slot' => sub {
        my @spare = map { spare() } 1 .. 7;
        my @held  = hold();
        my ($old) = $nginx->worker_pids;

        $nginx->http->post('/fanout/channels/a/messages', '"before"');
        $nginx->reload;

        ok(wait_for(sub { status()->{zone}{limits}{workers} == 1 }),
           'the old worker has let go of its slot');
        ok((grep { $_ == $old } $nginx->stopping_pids), 'and is still there');

        my $body = '{"id":1,"op":"publish","channel":"a","data":"late"}';
        my $post = talk($spare[0], "POST /rt HTTP/1.1\nHost: localhost\n"
            . "Connection: close\nContent-Type: application/json\n"
            . "Content-Length: " . length($body) . "\n\n$body");

        like($post, qr/^HTTP.1.1 200 .*"offset":/s, 'POST is served');
        like($nginx->http->get('/fanout/channels/a/messages')->{body},
             qr/"late"/, 'and published');

        my $stream = talk($spare[1], "GET /rt?channel=a HTTP/1.1\n"
            . "Host: localhost\nAccept: text/event-stream\n\n");

        like($stream, qr{^HTTP.1.1\ 200\ .*Content-Type:\ text/event-stream
                         .*\nretry:\ 1234\n}sx, 'a stream ends, with retry');

        my $ws = talk($spare[2], "GET /rt HTTP/1.1\n$upgrade");

        like($ws, qr/^HTTP.1.1[ ]101[ ].*"closing":\{"code":"drain",
                     "reconnect":true,"after":\d+\}.*\x03\xf4/sx,
             'WebSocket is told to come back, then 1012');

        my $raw = talk($spare[3], "GET /raw?channel=a HTTP/1.1\n$upgrade");

        like($raw, qr/^HTTP.1.1 101 .*\x03\xf4/s, 'raw is closed by 1012');

        my $poll = talk($spare[4], "GET /rt?poll=1&channel=a&history=5 "
            . "HTTP/1.1\nHost: localhost\n\n");

        like($poll, qr/^HTTP.1.1 200 .*Fanout-Position: \S.*"late"/s,
             'a poll is answered');

        my $api = talk($spare[5], "GET /fanout/channels/a HTTP/1.1\n"
            . "Host: localhost\nConnection: close\n\n");

        like($api, qr/^HTTP.1.1 200 /, 'the HTTP API is served');

        my $bad = talk($spare[6], "GET /rt HTTP/1.1\nOrigin: http://x.test\n"
                                  . $upgrade, qr/fanout_origin/);

        like($bad, qr/^HTTP.1.1 403 /, 'a wrong origin is refused as ever');

        ok(wait_for(sub { status()->{zone}{limits}{workers} == 1 }),
           'no slot is kept for that');

        close $_ for @held;
        ok($nginx->wait_gone(30, $old), 'then the old worker goes');
    };

    $nginx->reload(http => $http . "# $slot", wait_old => 1);
}


subtest 'downloads hold workers, not their slots' => sub {
    my (@held, @old);

    for (1 .. 6) {
        push @held, hold();
        push @old, $nginx->worker_pids;
        $nginx->reload;
    }

    ok(wait_for(sub { status()->{zone}{limits}{workers} == 1 }),
       'one slot is in use');

    my $client = $nginx->native(path => '/rt');

    $client->ok(join => channel => 'a');
    is(scalar $nginx->stopping_pids, 6, 'beside six old workers');
    $client->cut;

    close $_ for @held;
    ok($nginx->wait_gone(30, @old), 'which go with their downloads');
};


# publishes that the backend has answered are not under way any more

subtest 'nor do hooks keep slots' => sub {
    $nginx->reload(wait_old => 1, server => server(
        'fanout_hook app /publish publish;
         location = /publish { internal; return 204; }'));

    my ($old)  = $nginx->worker_pids;
    my @held   = hold();
    my $client = $nginx->native(path => '/rt');

    $client->ok(publish => channel => 'a', data => 1) for 1 .. 2;
    $client->cut;
    $nginx->reload(server => server());

    ok(wait_for(sub { status()->{zone}{limits}{workers} == 1 }),
       'one slot is in use');
    is_deeply([ $nginx->stopping_pids ], [ $old ], 'beside an old worker');

    close $_ for @held;
    ok($nginx->wait_gone(30, $old), 'which goes with its download');
};


# linger= is a second, and the stream is told to come back after a minute

subtest 'who comes back when told does not flap' => sub {
    $nginx->reload(wait_old => 1,
                   server => server() =~ s/1234ms/60s/r);

    my $join = '%7B%22channel%22%3A%22p%3Aa%22%2C%22presence%22%3A%7B%7D%7D';
    my $s    = spare();
    my $open = talk($s, "GET /rt?session=1&join=$join HTTP/1.1\n"
        . "X-Requested-With: test\n"
        . "Host: localhost\nAccept: text/event-stream\n\n", qr/"joined"|slot/);
    my $there = sub {
        $nginx->http->get('/fanout/channels/p:a/presence')->json->{count};
    };

    ok(wait_for(sub { $there->() == 1 }), 'a stream is a member')
        or diag($open);

    my @old = $nginx->worker_pids;

    $nginx->reload;
    like(talk($s, '', qr/retry: [6-9]\d{4}\n.*retry: [6-9]\d{4}\n/s),
         qr/"closing"/, 'it is told to come back in a minute or more');
    ok($nginx->wait_gone(30, @old), 'the old worker is gone');

    sleep 4;
    is($there->(), 1, 'and is a member as long as it may come back');
    $nginx->reload(server => server(), wait_old => 1);
};


subtest 'worker_shutdown_timeout bounds hooks' => sub {
    $nginx->reload(wait_old => 1, main => 'worker_shutdown_timeout 1s;',
        server => server('fanout_hook app /hook publish batch=1 timeout=1h;
                          location = /hook { internal; proxy_read_timeout 1h;
                            proxy_pass http://127.0.0.1:%%PORT1%%; }'));

    my ($old)   = $nginx->worker_pids;
    my @clients = map { $nginx->native(path => '/rt') } 1 .. 8;

    $_->send_text('{"op":"publish","channel":"one","data":1}') for @clients;
    ok(wait_for(sub { status()->{worker}{asks} == 8 }), 'eight wait');

    $nginx->reload;
    ok($nginx->wait_gone(60, $old),
       'the worker goes, though the backend answers none');

    $nginx->reload(main => '', server => server(), wait_old => 1);
};


subtest 'told to exit at once while it shuts down' => sub {
    $nginx->reload(wait_old => 1,
                   server => server() =~ s/fanout_drain 100ms/fanout_drain 1h/r);

    my ($old)   = $nginx->worker_pids;
    my @clients = map { $nginx->native(path => '/rt') } 1 .. 3;

    $nginx->reload;
    ok(wait_for(sub { (grep { $_ == $old } $nginx->stopping_pids) }),
       'it shuts down');

    my $seen = $nginx->log_like(qr/$old#.*open socket #\d+ left/);

    $nginx->signal($old, 'TERM');
    ok($nginx->wait_gone(30, $old), 'and exits');
    is($nginx->log_like(qr/$old#.*open socket #\d+ left/), $seen,
       'no socket of a session is left open');
};


subtest 'eventfds of zones that are gone' => sub {
    my $fds = sub { scalar grep { (readlink || q()) =~ /eventfd/ }
                    glob '/proc/' . $nginx->master_pid . '/fd/*' };

    $nginx->reload(http => $http, server => server(), wait_old => 1);
    my $before = $fds->();

    for my $n (1 .. 3) {
        $nginx->reload(http => "$http fanout_zone z$n 2m;");
        is($fds->(), $before + 32, "with another zone, $n");
    }

    $nginx->reload(http => $http);
    is($fds->(), $before, 'as many as before');
};


subtest 'slots' => sub {
    is($nginx->log_like(qr/\[warn\].*has 4 slots.*after a reload/), 0,
       'twice the workers is enough');

    $nginx->reload(workers => 3);
    is($nginx->log_like(qr/\[warn\].*has 4 slots for 3 .*after a reload/), 1,
       'less is warned of');

    $nginx->reload(workers => 1, http => $http =~ s/slots=4/slots=8/r);
    is($nginx->log_like(qr/\[warn\].*has 4 slots until NGINX is restarted/),
       1, 'and that slots= does not change');
};
