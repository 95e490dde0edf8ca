#!/usr/bin/env perl

# The arguments of a URL that the protocols define. If this fails, a word that
# is mistyped ("poll=yes", "session=true") or an argument that is there twice is
# taken for something else in silence, and its author looks for the fault in
# NGINX.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 8m; fanout_permit all *;
                fanout_channel app * history=10;
                fanout_origin https://app.test;',
    server  => <<'END_OF_SERVER',
        location /rt   { fanout app; fanout_user $arg_user; }
        location /auto { fanout app; fanout_autojoin a; }
        location /raw  { fanout app; fanout_dialect raw; }
        location /nows { fanout app; fanout_transports sse poll post;
                         fanout_user $arg_user; }
        location /api/ { fanout_api app; }
END_OF_SERVER
);

my $http  = $nginx->http;
my %page  = (Origin => 'https://app.test');
my $ping  = '{"id":1,"op":"ping"}';
my $token = 'r_' . '0' x 32;


sub websocket {
    my ($path) = @_;

    my $ws = $nginx->ws(path => $path, expect => undef);

    return ($ws->status, $ws->body // '', $ws->headers);
}

sub get {
    my ($path) = @_;

    my $r = $nginx->http->get($path, headers => { %page });

    return ($r->{status}, $r->{body}, $r->{headers});
}

sub post {
    my ($path) = @_;

    my $r = $http->post($path, $ping, headers => {
                %page, 'Content-Type' => 'application/json' });

    return ($r->{status}, $r->{body}, $r->{headers});
}

# A refusal as each of the transports has it; each has to say all of @$like.

sub is_refused {
    my ($what, $query, @like) = @_;

    my %ways = (
        WebSocket => [ \&websocket, "/rt?$query" ],
        stream    => [ \&get, "/rt?channel=a&$query" ],
        poll      => [ \&get, "/rt?channel=a&$query&timeout=0"
                              . ($query =~ /poll=/ ? '' : '&poll=1') ],
        POST      => [ \&post, "/rt?$query" ],
    );

    for my $way (sort keys %ways) {
        my ($of, $path) = @{ $ways{$way} };
        my ($status, $body, $headers) = $of->($path);

        is($status, 400, "$what: $way: 400");

        if ($way eq 'WebSocket') {
            like($body, qr/^[^{\n]+\n\z/, "$what: $way: a line of text");

        } else {
            my $error = eval { Fanout::JSON::decode($body)->{error} } || {};

            is($error->{code}, 'bad_request', "$what: $way: its code");
            is($headers->{'access-control-allow-origin'}, $page{Origin},
               "$what: $way: a page may read it");
        }

        like($body, $_, "$what: $way: says $_") for @like;
    }
}


subtest 'flags' => sub {
    for my $flag (qw( poll session heartbeat )) {
        is_refused("$flag=$_", "$flag=$_", qr/argument \\?"$flag\\?"/,
                   qr/\\?"0\\?" or \\?"1\\?"/)
            for 'yes', 2, '', '01', '%31';
    }

    is_refused('no value', 'session', qr/argument \\?"session\\?"/);
    is_refused('capitals', 'SESSION=yes', qr/argument \\?"session\\?"/);

    for my $path ('/auto?poll=2', '/rt?poll=yes') {
        my ($status, $body) = get($path);

        is($status, 400, "$path: no channel is named: 400");
        like($body, qr/^\{"error":.*\\"poll\\"/, 'and says why, as JSON');
    }
};


subtest 'once' => sub {
    is_refused("$_->[0] twice", "$_->[1]&$_->[1]",
               qr/\\?"$_->[0]\\?" is there twice/)
        for [ 'poll', 'poll=0' ], [ 'session', 'session=0' ],
            [ 'heartbeat', 'heartbeat=1' ], [ 'history', 'history=1' ],
            [ 'timeout', 'timeout=1' ], [ 'lastEventId', 'lastEventId=1.1' ],
            [ 'since', 'since=1.1' ];

    is_refused('different values', 'poll=0&x=1&poll=1', qr/twice/);

    for my $twice ('channel=a&channel=b', 'channel=a&since=1:1&since=1:2') {
        my ($status, $body) = websocket("/raw?$twice");

        is($status, 400, "raw, $twice: 400");
        like($body, qr/\A[^\n]+ is there twice\n\z/, 'and why');
    }
};


subtest 'a token in a URL' => sub {
    is_refused('resume', "resume=$token", qr/secret/, qr/Fanout-Resume/);
};


subtest 'what the application has' => sub {
    for my $query ('hstory=3', 'user=ann', 'token=1&token=2', 'pol=2',
                   'sessions=yes', 'x', '=', '&&')
    {
        is((websocket("/rt?$query"))[0], 101, "$query: WebSocket");
        is((get("/rt?channel=a&poll=1&timeout=0&$query"))[0], 200,
           "$query: a poll");
        is((post("/rt?$query"))[0], 200, "$query: POST");
    }

    is((websocket('/raw?channel=a&poll=2&session=yes'))[0], 101,
       'the raw dialect has no such arguments');

    is($http->get('/api/channels?hstory=3')->{status}, 400,
       'the HTTP API knows all of its own');
};


subtest 'right words' => sub {
    is((websocket('/rt?heartbeat=1&session=0&poll=0'))[0], 101, 'WebSocket');
    is((post('/rt?session=1&poll=0'))[0], 200, 'POST');
    is((get('/rt?channel=a&channel=b&POLL=1&timeout=0'))[0], 200,
       'a poll, in capitals');
    is((get('/rt?channel=a&poll=1&timeout=x'))[0], 400, 'timeout');
    is((get('/rt?channel=a&poll=1&history=x'))[0], 400, 'history');
};


subtest 'the shape of a refusal' => sub {
    for my $path ('/nows?user=ann', '/nows?user=' . 'u' x 300) {
        my ($status, $body, $headers) = websocket($path);

        is($status, 403, 'no WebSocket here');
        is($body, "WebSocket is not served here: fanout_transports\n",
           'a line of text, as all refusals of a WebSocket are');
        is($headers->{'content-type'}, 'text/plain', 'its type');
    }
};


$nginx->done_testing;
