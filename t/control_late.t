#!/usr/bin/env perl

# What is under way when somebody is shut out: publishes that a backend is asked
# about. If this fails, who is shut out still speaks.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $secret = 'a secret that only the backend knows';
my $hook = Fanout::HookBackend->start;
my $hooked = $hook->port;

my $nginx = Fanout::Nginx->start(
    workers => 2,
    http    => <<'END',
        fanout_zone asking 16m;
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

            # what comes behind it is published

            my $after = $nginx->native(path => '/hooked?user=other',
                                       worker => $one);

            $after->ok('publish', channel => $channel, data => 1);

            is(kept($channel), 1, "$how: nothing is published for a $kind that "
                . 'was shut out' . ($leaves ? ', and had left' : ''));
        }
    }
}


$nginx->done_testing;
