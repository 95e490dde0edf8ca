#!/usr/bin/env perl

# The position of a channel that does not exist. If this fails, a page that was
# made while a channel was new, and joins it from there, is told that it has
# missed something, or is not told when it has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m idle=1s;
        fanout_channel app one:*    history=1;
        fanout_channel app none:*;
        fanout_channel app people:* presence=on history=10;
        fanout_channel app *        history=10;
END
    server => <<'END',
        fanout_permit all *;
        location /rt { fanout app; }
        location /raw { fanout app; fanout_dialect raw; }
        location /api { fanout_api app; }
END
);

my $http = $nginx->http;
my $ws   = $nginx->native(path => '/rt');
my $n    = 0;

sub name { "$_[0]:" . ++$n }

sub publish {
    my ($channel, @data) = @_;

    $http->post("/api/channels/$channel/messages", qq("$_")) for @data;
}

# what the API says of one that is not there

sub absent {
    my ($channel) = @_;

    return $http->get("/api/channels/$channel/messages")
                ->json->{error}{data};
}

sub data_of { join ' ', map { $_->{data} } @{ $_[0] } }


# who says what the position is

my %says = (
    messages => sub { absent($_[0]) },
    info     => sub { $http->get("/api/channels/$_[0]")
                           ->json->{error}{data} },
    presence => sub { $http->get("/api/channels/$_[0]/presence")
                           ->json->{error}{data} },
    purge    => sub { $http->delete("/api/channels/$_[0]")
                           ->json->{error}{data} },
    batch    => sub { $http->post('/api/batch', Fanout::JSON::encode([
                          { op => 'history', channel => $_[0] } ]))
                           ->json->[0]{error}{data} },
    history  => sub { $ws->ok(history => channel => $_[0]) },
    members  => sub { $ws->ok(members => channel => $_[0]) },
    conflict => sub { $ws->cmd(publish => channel => $_[0], data => 1,
                               if => { epoch => 'x', offset => 0 })
                           ->{error}{data} },
);

for my $who (sort keys %says) {
    my $channel = name('people');
    my $at      = $says{$who}->($channel);

    like($at->{epoch}, qr/^[0-9a-f]{16}$/, "$who: an epoch");
    is($at->{offset}, 0, 'and where it starts');

    my $since = { epoch => $at->{epoch}, offset => $at->{offset} };

    publish($channel, 'a', 'b');
    my $ok = $ws->ok(join => channel => $channel, since => $since);
    ok($ok->{recovered}, "$who: a join from there has it all");
    is(data_of($ok->{messages}), 'a b', 'which is this');
    $ws->ok(leave => channel => $channel);
}


# who takes it: all that takes a position

sub since { my ($at) = @_; return { %$at{qw( epoch offset )} } }

for my $transport (Fanout::Client->transports) {
    for my $said ('', 'a b') {
        my $channel = name('room');
        my $at      = since(absent($channel));

        publish($channel, split / /, $said);

        my $client = Fanout::Client->open($nginx, $transport, '/rt',
            joins => [ { channel => $channel, since => $at } ]);

        ok($client->joined($channel)->{recovered},
           "$transport: recovered, with '$said'");

        publish($channel, 'c');
        is(join(' ', map { ($client->next_message || {})->{data} // '-' }
                         1 .. 1 + split / /, $said),
           $said ? "$said c" : 'c', 'and goes on');
    }
}

{
    my $channel = name('room');
    my $at      = absent($channel);

    publish($channel, 'a', 'b');

    my $ok = $ws->ok(history => channel => $channel, since => since($at));
    ok($ok->{recovered}, 'native: history');
    is(data_of($ok->{messages}), 'a b', 'which is all');

    my $page = $http->get("/api/channels/$channel/messages"
                          . "?since=$at->{epoch}:0")->json;
    ok($page->{recovered}, 'API: history');
    is(data_of($page->{messages}), 'a b', 'which is all');

    my $raw = $nginx->ws(path => "/raw?channel=$channel"
                                 . "&since=$at->{epoch}:0");
    is(join(' ', map { $raw->recv_text } 1, 2), '"a" "b"', 'raw');
    $raw->disconnect;
}

{
    my $channel = name('room');
    my $at      = absent($channel);
    my $ok      = $ws->ok(history => channel => $channel, since => since($at));

    ok($ok->{recovered}, 'history of a channel that is not there still');
    is($ok->{offset}, 0, 'and where it is');
    is($ws->cmd(publish => channel => $channel, data => 1,
                if => since($at))->{ok}{offset}, 1, 'if: it is the first');
    is($ws->cmd(publish => channel => $channel, data => 2,
                if => since($at))->{error}{code}, 'conflict',
       'and then it is not');
}


# when something was lost

my %lost = (
    'history is full' => [ name('one'), sub { publish($_[0], 'a', 'b') } ],
    'no history'      => [ name('none'), sub { publish($_[0], 'a') } ],
    'purged'          => [ name('room'), sub {
        publish($_[0], 'a');
        $http->delete("/api/channels/$_[0]");
        publish($_[0], 'b');
    } ],
    'purged twice'    => [ name('room'), sub {
        publish($_[0], 'a');
        $http->delete("/api/channels/$_[0]") for 1, 2;
    } ],
    'forgotten'       => [ name('none'), sub {
        my ($channel) = @_;

        publish($channel, 'a');
        wait_for(sub {
            $http->get("/api/channels/$channel")->{status} == 404;
        });
    } ],
);

for my $how (sort keys %lost) {
    my ($channel, $sub) = @{ $lost{$how} };
    my $at = since(absent($channel));

    $sub->($channel);

    my $ok = $ws->ok(history => channel => $channel, since => $at);
    ok(!$ok->{recovered}, "$how: history");

    $ok = $ws->ok(join => channel => $channel, since => $at);
    ok(!$ok->{recovered}, "$how: join");
    $ws->ok(leave => channel => $channel);

    my $sse = Fanout::Client->open($nginx, 'sse', '/rt',
        joins => [ { channel => $channel, since => $at } ]);
    ok(!$sse->joined($channel)->{recovered}, "$how: a stream");
}

# what was forgotten of others, with nothing said since then, is nothing lost

{
    my $old = name('none');
    publish($old, 'a');
    my $at = since(absent('none:later'));

    wait_for(sub { $http->get("/api/channels/$old")->{status} == 404 });

    my $ok = $ws->ok(join => channel => 'none:later', since => $at);
    ok($ok->{recovered}, 'others that were forgotten');
}
