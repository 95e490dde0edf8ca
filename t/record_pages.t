#!/usr/bin/env perl

# Joins of a table with many records: its workers keep pages of it as JSON for
# all who join.  If this fails, a join gets records as they were, not as they
# are.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $seed = $ENV{SEED} || int rand 2 ** 24;

srand($seed);
diag("SEED=$seed") if $ENV{SEED};

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app short:* history=10 records=on records_ttl=1s;
        fanout_channel app * history=10 records=on;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_permit all *;
            fanout_rate off;
            fanout_budget off;
        }
        location /api/ { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $writer = $nginx->native(worker => $two, path => '/realtime');
my $reader = $nginx->native(worker => $one, path => '/realtime');
my $parts;


# all that a reply to a join or a get has

sub records_of {
    my ($reply) = @_;

    $parts = @{ $reply->{part} || [] };

    return { map { %{ $_->{records} } } @{ $reply->{part} || [] },
             $reply->{ok} };
}

sub joined {
    my ($channel, $ws) = @_;

    return records_of(($ws || $reader)->cmd('join',
        channel => $channel, want => ['records']));
}

# the same from a worker that has not joined: it keeps no pages

sub there {
    return records_of($writer->cmd('get', channel => $_[0], all => \1));
}

sub set {
    my ($channel, $id, $n, $value) = @_;

    $writer->ok('set', channel => $channel, record => $id,
                set => { n => $n, text => $value });
}

sub fill {
    my ($channel, $n) = @_;

    set($channel, "r$_", $_, 'x' x 60) for 1 .. $n;
}


subtest 'a change is in the next join' => sub {
    fill('table', 900);

    my $all = joined('table');

    is(scalar keys %$all, 900, 'all records');
    ok($parts > 3, "in $parts parts");
    is_deeply($all, there('table'), 'as they are');
    is_deeply(joined('table'), $all, 'again');

    set('table', 'r5', 'first', '');
    is(joined('table')->{r5}{fields}{n}, 'first', 'one of the first');

    set('table', 'r899', 'last', '');
    is(joined('table')->{r899}{fields}{n}, 'last', 'one of the last');

    set('table', 'new', 'new', '');
    is(joined('table')->{new}{fields}{n}, 'new', 'a new one');

    $writer->ok('delete', channel => 'table', record => 'r300');
    ok(!joined('table')->{r300}, 'one that is deleted');

    set('table', 'again', 1, '');
    $all = joined('table');
    ok($all->{again} && !$all->{r300}, 'another in its place');
    is_deeply($all, there('table'), 'all as they are');
};


subtest 'sizes' => sub {
    set('table', 'r200', 1, 'y' x 60_000);
    is_deeply(joined('table'), there('table'), 'a page that has grown');

    set('table', 'r200', 2, '');
    is_deeply(joined('table'), there('table'), 'and is small again');

    $writer->ok('delete', channel => 'table', record => "r$_")
        for 310 .. 700;
    is_deeply(joined('table'), there('table'), 'pages that are gone');

    set('table', "s$_", $_, 'z') for 1 .. 500;
    is_deeply(joined('table'), there('table'), 'and come back');
};


subtest 'all are gone' => sub {
    is($nginx->http->delete('/api/channels/table?records=1')->{status}, 200,
       'purged');
    is_deeply(joined('table'), {}, 'nothing');

    fill('table', 300);
    is_deeply(joined('table'), there('table'), 'others');

    set('short:1', "r$_", $_, 'x' x 100) for 1 .. 300;
    is(scalar keys %{ joined('short:1') }, 300, 'records with an end');
    ok(wait_for(sub { !%{ joined('short:1') } }, 15), 'are over');
};


subtest 'any order' => sub {
    my @ids = map { "r$_" } 1 .. 400;
    my ($same, $joins) = (0, 30);

    for (1 .. $joins) {
        for (1 .. 1 + rand 20) {
            my $id = $ids[rand @ids];

            if (rand() < 0.3) {
                $writer->cmd('delete', channel => 'mixed', record => $id);
            } else {
                set('mixed', $id, $_, 'v' x rand(rand() < 0.1 ? 9000 : 200));
            }
        }

        my $now = joined('mixed');

        $same++ if Fanout::JSON::encode($now) eq Fanout::JSON::encode(there('mixed'));
    }

    is($same, $joins, 'every join has the records as they are')
        or diag("SEED=$seed");
};


subtest 'deflated' => sub {
    my $ws = $nginx->native(worker => $one, path => '/realtime',
                            deflate => 1);

    fill('packed', 600);
    is_deeply(joined('packed', $ws), there('packed'), 'by permessage-deflate');
    is_deeply(joined('packed'), there('packed'), 'and plain');
};

done_testing();
