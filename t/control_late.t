#!/usr/bin/env perl

# What is under way when somebody is shut out or has to be authorized again:
# publishes that a backend is asked about, handshakes and renewals that one
# decides about. If this fails, who is shut out still speaks, or somebody keeps
# what was to be taken.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Backend qw( response );
use Fanout::Elapsed qw( time );
use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Socket;


my $secret = 'a secret that only the backend knows';
my $hook = Fanout::HookBackend->start;
my $gate = Fanout::Backend->start;
my ($hooked, $gated) = ($hook->port, $gate->port);

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone asking 16m;
        fanout_zone app 8m;
        fanout_channel asking * history=100;
        fanout_rate off;
        fanout_budget off;
        set_real_ip_from 127.0.0.1;
        real_ip_header   X-Real;
END
    server  => <<"END",
        fanout_permit all *;
        location /asking { fanout_api asking; }
        location /hooked { fanout asking; fanout_user \$arg_user; }
        location /raw {
            fanout asking;
            fanout_dialect raw;
            fanout_user \$arg_user;
        }
        location /hooked-jwt {
            fanout asking;
            fanout_jwt  'secret=$secret';
            fanout_user \$fanout_claim_sub;
        }
        location /hooked-ticket {
            fanout asking;
            fanout_permit join none;
            fanout_jwt  'secret=$secret' channel=channel token=optional;
            fanout_user \$arg_user;
        }
        location /api { fanout_api app; }
        location /slow {
            auth_request /gate;
            fanout app;
            fanout_jwt  'secret=$secret' token=optional;
            fanout_user \$arg_user\$fanout_claim_sub;
        }
        location = /gate {
            internal;
            proxy_pass http://127.0.0.1:$gated;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
        location = /hook { internal; proxy_pass http://127.0.0.1:$hooked; }
        fanout_hook asking /hook publish;
END
);

my $http = $nginx->http;
my ($one) = $nginx->worker_pids;
my $n = 0;


sub token {
    return Fanout::JWT::sign('HS256', $secret,
                             { iat => CORE::time() - 10, %{ $_[0] } });
}

sub api {
    my ($method, $path) = @_;

    my $r = $http->request($method => $path);
    die "$path: $r->{status} $r->{body}" if $r->{status} !~ /^2/;

    return $r;
}

sub kept {
    my ($channel) = @_;

    my $r = $http->get("/asking/channels/$channel/messages?limit=100");

    return $r->{status} == 200 ? scalar @{ $r->json->{messages} } : 0;
}

my @json = [ 'Content-Type' => 'application/json' ];

# Sends a publish that the backend does not answer yet

my %publishers = (
    websocket => sub {
        my ($channel, $path, %o) = @_;
        my $c = $nginx->native(path => $path, worker => $one, %o);

        $c->send_json({ id => 1, op => 'publish', channel => $channel,
                        data => 'late' });
        return $c;
    },
    post => sub {
        my ($channel, $path, %o) = @_;
        my $c = $nginx->http(worker => $one);

        $c->connection->send_bytes($c->format_request(POST => $path,
            headers => [
                @json, @{ $o{headers} || [] },
                $o{token} ? [ Authorization => "Bearer $o{token}" ] : ()
            ],
            body => Fanout::JSON::encode({ op => 'publish',
                channel => $channel, data => 'late' })));
        return $c;
    },
    raw => sub {
        my ($channel, $path, %o) = @_;

        $path =~ s/hooked/raw/;
        my $c = $nginx->ws(path => "$path&channel=$channel", worker => $one, %o);

        $c->send_text('late');
        return $c;
    },
);

my %denials = (
    user    => sub { api(PUT => "/asking/denials/user:$_[0]?for=60") },
    address => sub { api(PUT => "/asking/denials/address:$_[1]?for=60") },
    token   => sub { api(PUT => "/asking/denials/token:$_[0]?for=60") },
    tokens  => sub { api(POST => "/asking/users/$_[0]/revoke") },
);

# what comes behind a publish that was held is published

sub behind {
    my ($channel) = @_;
    my $c = $nginx->native(path => '/hooked?user=other', worker => $one);

    $c->ok('publish', channel => $channel, data => 1);
}

for my $kind (sort keys %denials) {
    for my $how (sort keys %publishers) {
        for my $leaves (0, 1) {
            next if $how eq 'raw' && $kind =~ /token/;

            my $user = 'p' . ++$n;
            my $address = "192.0.2.$n";
            my $channel = "held-$n";
            my $path = $kind =~ /token/ ? '/hooked-jwt' : "/hooked?user=$user";

            $hook->forget;
            $hook->does(wait => "go-$n", answer => 1);

            my $c = $publishers{$how}->($channel, $path,
                headers => [ [ 'X-Real' => $address ] ],
                $kind =~ /token/
                ? (token => token({ sub => $user, jti => $user })) : ());

            $hook->wait_calls(1);
            $c->can('cut') ? $c->cut : $c->disconnect if $leaves;
            $denials{$kind}->($user, $address);
            $hook->let("go-$n");

            behind($channel);

            is(kept($channel), 1, "$how: nothing is published for a $kind that "
                . 'was shut out' . ($leaves ? ', and had left' : ''));
        }
    }
}


# The same where the token of a channel permits the publish

for my $kind ('token', 'tokens', 'none') {
    for my $how ('websocket', 'post') {
        for my $leaves (0, 1) {
            my $user = 'p' . ++$n;
            my $channel = "ticket-$n";
            my $path = "/hooked-ticket?user=$user";
            my $ticket = token({ sub => $user, jti => $user, channel => $channel,
                                 ops => [ 'join', 'publish' ] });

            $hook->forget;
            $hook->does(wait => "go-$n", answer => 1);

            my $c;

            if ($how eq 'post') {
                $c = $publishers{post}->($channel, $path,
                    headers => [ [ 'Fanout-Join-Token' => $ticket ] ]);

            } else {
                $c = $nginx->native(path => $path, worker => $one);
                $c->ok('join', channel => $channel, token => $ticket);
                $c->send_json({ id => 9, op => 'publish', channel => $channel,
                                data => 'late' });
            }

            $hook->wait_calls(1);
            $c->can('cut') ? $c->cut : $c->disconnect if $leaves;
            $denials{$kind}->($user) if $kind ne 'none';
            $hook->let("go-$n");
            behind($channel);

            is(kept($channel), $kind eq 'none' ? 2 : 1,
               "$how: $kind of a channel was revoked"
               . ($leaves ? ', and the sender had left' : ''));
        }
    }
}


# Requests that a backend has yet to let in

sub request {
    my ($head, @headers) = @_;
    my $c = Fanout::Socket->open(port => $nginx->port);

    $c->send_bytes(join "\r\n", "$head HTTP/1.1", 'Host: x', @headers, '', '');

    return $c;
}

my %handshakes = (
    websocket => sub {
        request("GET $_[0]", 'Connection: Upgrade', 'Upgrade: websocket',
                'Sec-WebSocket-Version: 13',
                'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', @_[1 .. $#_]);
    },
    sse => sub {
        request("GET $_[0]&channel=a", 'Accept: text/event-stream',
                @_[1 .. $#_]);
    },
    poll => sub {
        request("GET $_[0]&channel=a&poll=1&timeout=60", @_[1 .. $#_]);
    },
    post => sub {
        my $c = request("POST $_[0]", "Content-Type: $json[0][1]",
                        'Content-Length: 40', @_[1 .. $#_]);

        $c->send_bytes('{"op":"publish","channel":"a","data": 1}');
        return $c;
    },
);

# what comes until it has all, or the connection ends

sub comes {
    my ($c, $all) = @_;
    my $until = time + 15;

    while (!$c->eof && ${ $c->buffer } !~ $all && time < $until) {
        eval { $c->fill($until - time) };
    }

    return ${ $c->buffer };
}

sub gate {
    my ($steps) = @_;

    $gate->override(@$steps, send => response(204));
    unlink glob "$gate->{dir}/requests/*";
}

sub soon { token({ exp => CORE::time() + 600, @_ }) }

my %later = (
    user        => sub { api(PUT => "/api/denials/user:$_[0]?for=60") },
    tokens      => sub { api(POST => "/api/users/$_[0]/revoke") },
    reauthorize => sub { api(POST => "/api/users/$_[0]/reauthorize?within=100") },
);

# a token can be renewed only over a WebSocket: a stream ends, and what is
# answered at once has ended anyhow

my %expected = (
    user        => qr/^HTTP\S+ 403 .*blocked/s,
    tokens      => qr/^HTTP\S+ 401 .*revoked/s,
    reauthorize => {
        websocket => qr/^HTTP\S+ 101 .*"welcome".*"expiring"/s,
        sse       => qr/^HTTP\S+ 200 .*"closing".*4401/s,
        poll      => qr/^HTTP\S+ 200 /,
        post      => qr/^HTTP\S+ 204 /,
    },
);

for my $how (sort keys %handshakes) {
    for my $kind (sort keys %later) {
        my $user = 'h' . ++$n;
        my $expected = $expected{$kind};

        $expected = $expected->{$how} if ref $expected eq 'HASH';
        gate([ wait => "gate-$n" ]);

        my $c = $handshakes{$how}->('/slow?id=7',
            'Authorization: Bearer ' . soon(sub => $user));

        $gate->wait_requests(1);
        $later{$kind}->($user);
        $gate->let("gate-$n");

        like(comes($c, $expected), $expected, "$how, decided late: $kind");
    }
}


for my $kind (sort keys %later) {
    my $user = 'r' . ++$n;

    gate([]);

    my $c = $nginx->native(path => '/slow', token => soon(sub => $user));

    gate([ wait => "gate-$n" ]);
    $c->send_json({ id => 1, op => 'auth', token => soon(sub => $user) });
    $gate->wait_requests(1);
    $later{$kind}->($user);
    $gate->let("gate-$n");

    is($c->wait_close(10), $kind eq 'reauthorize' ? 4401 : 4403,
       "a renewal that was decided late: $kind");
}


subtest 'once is enough' => sub {
    my $user = 'again';

    gate([]);
    $later{reauthorize}->($user);

    # who comes within a quarter of a second counts as older; a command makes
    # a worker look

    $nginx->native(path => '/slow', token => soon(sub => 'other'),
                   worker => $_)->ok('ping') for $nginx->worker_pids;
    select undef, undef, undef, 0.5;

    my $c = $nginx->native(path => '/slow', token => soon(sub => $user));

    $later{user}->("other-$_") for 1 .. 3;
    ok($c->ok('ping'), 'who came later goes on');
    ok(!$c->next_where(sub { $_[0]{expiring} }, 0.5), 'and need not renew');
};


$nginx->done_testing;
