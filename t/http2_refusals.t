#!/usr/bin/env perl

# Refusals over HTTP/2, where each session is a stream of a connection: if this
# fails, a page that HTTP/2 serves can't read why it was refused, or limits that
# count sessions don't see those that share a connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::H2;
use Fanout::JSON;
use Fanout::Nginx;


my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

plan(skip_all => 'NGINX without HTTP/2') if $version !~ /http_v2_module/;
plan(skip_all => 'no curl with HTTP/2')
    if `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

my $locations = <<'END';
        fanout_origin https://app.test;
        fanout_permit all *;
        fanout_sessions_per_address off;
        location /rt    { fanout app; }
        location /list  { fanout app; fanout_permit all a; }
        location /ws    { fanout app; fanout_transports websocket; }
        location /user  { fanout app; fanout_user $arg_user;
                          fanout_sessions_per_user 2; }
        location /address { fanout app; fanout_sessions_per_address 3; }
        location /spent { fanout app; fanout_rate off;
                          fanout_budget session off;
                          fanout_budget address sessions=1/s commands=off
                                        channels=off bytes=off burst=1s; }
        location /tiny  { fanout tiny; fanout_budget off; fanout_rate off;
                          fanout_channels_per_session 10000; }
        location = /status { fanout_status app; }
END

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 32m; fanout_zone tiny 2m address=100%;
                fanout_channel app * history=10;
                fanout_channel tiny *;
                http2_body_preread_size 65535;',  # curl does not wait
    server  => $locations,
    servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on $locations }",
);

my $url = 'http://127.0.0.1:' . $nginx->port('PORT1');


# a request over HTTP/2 on a connection of its own

sub ask {
    my ($path, %o) = @_;

    my %headers = (Origin => 'https://app.test', %{ $o{headers} || {} });

    $headers{'Content-Type'} = 'application/json' if defined $o{body};

    open my $curl, '-|', 'curl',
         '-siN', '--max-time', 60, '--http2-prior-knowledge',
         (map { ('-H', "$_: $headers{$_}") } sort keys %headers),
         defined $o{body} ? ('-d', $o{body}) : (), "$url$path"
        or die "curl: $!\n";

    my $text = do { local $/; readline $curl };
    close $curl;

    my ($head, $body) = split /\r\n\r\n/, $text // '', 2;
    my %h = map { /^([^:]+): (.*?)\r?$/ ? (lc $1, $2) : () }
                split /\n/, $head // '';
    my ($status) = ($head // '') =~ m{^HTTP/2 (\d+)};

    return { status => $status // 0, headers => \%h, body => $body // '' };
}


# by each way: what it is to an EventSource, a stream of another client, a poll
# and a POST

sub refused {
    my ($name, $path, $status, $code, %o) = @_;

    my ($base, $query) = $path =~ /^([^?]*)\?(.*)$/;
    my %ways = (
        EventSource => [ $path,
                         headers => { Accept => 'text/event-stream' } ],
        stream      => [ $path ],
        poll        => [ "$base?poll=1&timeout=0&session=1&$query",
                         headers => { 'X-Requested-With' => 'x' } ],
        POST        => [ "$base?$query", body => $o{body} // '[{"id":1,'
                         . '"op":"publish","channel":"x","data":1}]' ],
    );

    for my $way (@{ $o{ways} || [ sort keys %ways ] }) {
        my ($to, %how) = @{ $ways{$way} };
        my $r = ask($to, %how);
        my $h = $r->{headers};
        my $again = $way eq 'EventSource' && $o{again};

        is($r->{status}, $again ? 200 : $status, "$name, $way: the status")
            or diag($r->{body});
        like($r->{body}, qr/"code":"$code"/, "$name, $way: why");
        like($r->{body}, qr/^retry: \d+\ndata: .*\n\n\z/,
             "$name, $way: an event") if $again;
        ok(($h->{'retry-after'} // 0) >= 1, "$name, $way: when")
            if $o{again} && !$again;
        is($h->{'access-control-allow-origin'}, 'https://app.test',
           "$name, $way: may be read");
        is($h->{'access-control-allow-credentials'}, 'true',
           "$name, $way: with cookies");
        like($h->{vary} // '', qr/\bOrigin\b/, "$name, $way: Vary");
    }
}


# streams that are held on one connection

sub hold {
    my ($path, $n) = @_;

    my $c = Fanout::H2->connect(port => $nginx->port('PORT1'));

    for my $i (1 .. $n) {
        $c->get(2 * $i - 1, $path, 'origin', 'https://app.test');
        ok($c->read_until(sub { $c->{body}{ 2 * $i - 1 } =~ /"ok":/ }),
           "stream $i of the connection begins");
    }

    return $c;
}


subtest 'an origin' => sub {
    for my $more ('', '&poll=1') {
        my $r = ask("/rt?channel=a$more",
                    headers => { Origin => 'https://evil.test' });

        is($r->{status}, 403, 'is refused');
        like($r->{body}, qr/"code":"forbidden".*fanout_origin/, 'by name');
        is($r->{headers}{'access-control-allow-origin'}, undef,
           'and may not read it');
    }
};


subtest 'forbidden' => sub {
    refused('permission', '/list?channel=x', 403, 'forbidden',
            body => '{"id":1,"op":"publish","channel":"x","data":1}');

    # not by POST: a body that was not read is a reset behind the response,
    # which old curls take for a failure

    refused('transport', '/ws?channel=a', 403, 'forbidden',
            ways => [qw( EventSource stream poll )]);
};


subtest 'too many of a user' => sub {
    my $c = hold('/user?channel=a&user=ann', 2);

    refused('user', '/user?channel=a&user=ann', 429, 'too_many', again => 1,
            ways => [qw( EventSource poll )]);
};


subtest 'too many of an address' => sub {
    my $c = hold('/address?channel=a', 3);

    refused('address', '/address?channel=a', 503, 'too_many', again => 1,
            ways => [qw( EventSource stream poll )]);

    # those on the same connection are counted, too

    $c->get(99, '/address?channel=a', 'origin', 'https://app.test');
    ok($c->read_until(sub { $c->{end}{99} }), 'a fourth stream ends');
    like($c->{body}{99}, qr/"code":"too_many"/, 'and says why');
    ok(!$c->{end}{1} && !$c->{end}{3} && !$c->{end}{5}, 'the others go on');

    $c->send(Fanout::H2::frame(3, 0, 1, pack 'N', 8));

    my $id = 101;
    ok(wait_for(sub {
        $id += 2;
        $c->get($id, '/address?channel=a', 'origin', 'https://app.test');
        $c->read_until(sub { $c->{end}{$id} || $c->{body}{$id} =~ /"ok":/ });
        return $c->{body}{$id} =~ /"ok":/;
    }), 'one that was reset makes room');
};


# All at once, so that what a second brings is not enough for all.

subtest 'budgets' => sub {
    my $c = Fanout::H2->connect(port => $nginx->port('PORT1'));

    my @ids = map { 2 * $_ - 1 } 1 .. 30;

    $c->{body}{$_} = '' for @ids;
    $c->send(join '', map { Fanout::H2::frame(1, 5, $_, join '',
        map { Fanout::H2::literal(@$_) } [ ':method', 'GET' ],
        [ ':scheme', 'http' ], [ ':path', '/spent?channel=a' ],
        [ ':authority', 'x' ], [ 'accept', 'text/event-stream' ]) } @ids);

    ok($c->read_until(sub {
        30 == grep { $c->{end}{$_} || $c->{body}{$_} =~ /"ok":/ } @ids
    }), 'thirty streams of one connection');

    my @refused = grep { $c->{end}{$_} } @ids;

    cmp_ok(scalar @refused, '>', 0, 'are counted');
    cmp_ok(scalar @refused, '<', 30, 'each for itself');
    is(scalar(grep { $c->{body}{$_}
               =~ /^retry: \d+\ndata: \{"error":\{"code":"rate_limited"/ }
               @refused), scalar @refused, 'and each is told why');
};


subtest 'a full zone' => sub {
    my ($error, @clients);

    for my $i (1 .. 100) {
        my $client = $nginx->native(path => '/tiny');
        push @clients, $client;

        ($error) = map { $_->{error} ? $_->{error} : () } $client->batch(map {
            { op => 'join', channel => "place$i-$_-" . 'x' x 200 }
        } 1 .. 60);

        last if $error;
    }

    is($error->{code}, 'zone_full', 'has no room');

    refused('zone', '/tiny?channel=' . 'y' x 250, 507, 'zone_full',
            again => 1, ways => [qw( EventSource stream poll )]);
};
